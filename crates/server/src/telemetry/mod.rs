//! Telemetry: the log on standard error, and traces and evaluation events for a collector.

mod error_sources;
mod evaluation;
mod export;
mod one_line;
mod trace_context;

use std::{
    io::{self, IsTerminal},
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry::trace::TracerProvider;
use serde_json::json;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, ParseError, Targets},
    fmt::{
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use crate::options::{LogFormat, TraceOptions};
use error_sources::WithSources;
pub(crate) use evaluation::{Evaluation, Evaluations, Score};
use export::{Export, ExportError};
use one_line::OneLine;
pub(crate) use trace_context::{continue_trace, name_route};

/// The crates whose spans are exported. Spans of libraries would include those of the exporter itself.
const TRACED: [&str; 3] = ["gavel", "judge", "engine"];

/// The crates whose events are logged at any level. Those of libraries are logged up to [`MOST_OF_LIBRARIES`].
const OWN: [&str; 12] = [
    "gavel",
    "judge",
    "engine",
    "critic",
    "critic_candle",
    "rubric",
    "embedded",
    "kernels",
    "kernels_cuda",
    "store",
    "bench",
    "evaluation",
];

/// The most detailed level of libraries: below it they write what they work on. `tokenizers` writes the characters of
/// each prompt at `trace`.
const MOST_OF_LIBRARIES: LevelFilter = LevelFilter::DEBUG;

/// The most log lines that wait for standard error to be read. Further lines are dropped and counted, so that
/// nothing waits for its line; a line has about 200 bytes.
const MOST_WAITING: usize = 4096;

/// The log, and the export to a collector if one is configured. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Telemetry {
    export: Option<Arc<Export>>,
    log: Option<Arc<Log>>,
}

/// The log on standard error.
struct Log {
    dropped: ErrorCounter,
    /// Writes the waiting lines when it is dropped. Taken once, at the end.
    writing: Mutex<Option<WorkerGuard>>,
}

impl Telemetry {
    /// Starts the log with this filter, and the export if a collector is configured. Must be called at most once.
    ///
    /// # Errors
    /// If the filter or the collector's address is invalid, or a log was started before.
    pub(crate) fn start(
        (format, filter): (LogFormat, &str),
        traces: Option<&TraceOptions>,
    ) -> Result<Self, TelemetryError> {
        let export = traces.and_then(Export::start).transpose()?.map(Arc::new);
        let filter = EnvFilter::try_new(filter)
            .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
        // On a thread of its own: a pipe that is not read would block the writing task, and a closed one would make
        // it panic.
        let builder = NonBlockingBuilder::default().thread_name("log").buffered_lines_limit(MOST_WAITING);
        let (writer, guard) = builder.finish(io::stderr());
        let written = Log { dropped: writer.error_counter(), writing: Mutex::new(Some(guard)) };
        let writer = OneLine(writer);
        let log = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let log = match format {
            LogFormat::Pretty => log.with_ansi(io::stderr().is_terminal()).boxed(),
            LogFormat::Json => log.json().flatten_event(true).map_event_format(WithSources).boxed(),
        };
        let private = Targets::new()
            .with_default(MOST_OF_LIBRARIES)
            .with_targets(OWN.map(|target| (target, LevelFilter::TRACE)));
        let spans = export.as_ref().map(|export| {
            let traced = TRACED.map(|target| (target, LevelFilter::DEBUG));
            tracing_opentelemetry::layer()
                .with_tracer(export.tracers.tracer("gavel"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_filter(Targets::new().with_targets(traced))
        });
        tracing_subscriber::registry().with(spans).with(log.with_filter(filter.and(private))).try_init()?;
        Ok(Self { export, log: Some(Arc::new(written)) })
    }

    /// Flushes the export and the log. Waits at most a few seconds for a collector that does not answer, or for
    /// standard error to be read.
    pub(crate) fn finish(&self) {
        if let Some(export) = &self.export {
            export.finish();
        }
        if let Some(log) = &self.log {
            drop(log.writing.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    /// The number of log lines that were dropped.
    pub(crate) fn dropped_lines(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.dropped.dropped_lines() as u64)
    }

    /// Returns the reporter of verdicts on the responses of the current request; `response_ids` are the ids of the
    /// responses.
    pub(crate) fn evaluations(&self, response_ids: Vec<String>) -> Evaluations {
        Evaluations::new(self.export.clone(), response_ids)
    }
}

/// The line of a log in JSON for the error with which the program ends: the log itself has ended then.
pub(crate) fn last_line(message: &str) -> String {
    let mut timestamp = String::new();
    // A string takes everything.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let line = json!({ "timestamp": timestamp, "level": "ERROR", "message": message, "target": "gavel" });
    format!("{line}\n")
}

/// Why the log or the export cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// The collector cannot be exported to.
    #[error("--otlp-endpoint {endpoint} cannot be used")]
    Collector { endpoint: String, source: ExportError },
    /// The filter of the log is invalid.
    #[error("{filter:?} is no filter of the log")]
    Filter { filter: String, source: ParseError },
    /// The process has a log already.
    #[error(transparent)]
    Started(#[from] TryInitError),
}
