//! The causes of errors in the log in JSON: the library writes them in its format for people only.

use std::{error::Error, fmt, iter};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext,
        format::{FormatEvent, FormatFields, Writer},
    },
    registry::LookupSpan,
};

/// A format that writes each event as a JSON object in one line, with the causes of its errors: those of the field
/// `error` are the member `error.sources`, a list of their messages from the first cause to the last.
#[derive(Debug)]
pub(super) struct WithSources<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for WithSources<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut sources = Sources::default();
        event.record(&mut sources);
        if sources.0.is_empty() {
            return self.0.format_event(context, writer, event);
        }
        let mut object = String::new();
        self.0.format_event(context, Writer::new(&mut object), event)?;
        writer.write_str(object.trim_end().strip_suffix('}').ok_or(fmt::Error)?)?;
        for (name, messages) in sources.0 {
            let messages = serde_json::to_string(&messages).map_err(|_| fmt::Error)?;
            write!(writer, ",\"{name}.sources\":{messages}")?;
        }
        writer.write_str("}\n")
    }
}

/// The messages of the causes of each field that is an error with a cause, by the name of the field.
#[derive(Debug, Default)]
struct Sources(Vec<(&'static str, Vec<String>)>);

impl Visit for Sources {
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        let causes = iter::successors(error.source(), |&error| error.source());
        let messages: Vec<String> = causes.map(ToString::to_string).collect();
        if !messages.is_empty() {
            self.0.push((field.name(), messages));
        }
    }
}
