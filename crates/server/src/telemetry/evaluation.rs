//! The event `gen_ai.evaluation.result` of OpenTelemetry's conventions for generative models: one for each judged response.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::{
    logs::{LogRecord, Logger, Severity},
    trace::SpanContext,
};
use tracing::Span;

use super::{export::Export, trace_context::recorded};

const EVENT: &str = "gen_ai.evaluation.result";

/// What was found of one response.
pub(crate) struct Evaluation<'a> {
    /// By what it was judged: the rubric.
    pub(crate) name: &'a str,
    /// Which of the request's responses.
    pub(crate) response: usize,
    /// What was found, or the code of why nothing was.
    pub(crate) found: Result<Score, &'a str>,
    /// The critic's reasons; empty when there are none.
    pub(crate) explanation: &'a str,
}

/// A number, and a word for it where there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Score {
    /// The number, on the rubric's scale or as a reward.
    pub(crate) value: f64,
    /// The word.
    pub(crate) label: Option<&'static str>,
}

/// Tells what is found of the responses of one request. It belongs to the request's span, which the client's `traceparent`
/// has made a part of the trace of what is judged.
pub(crate) struct Evaluations {
    to: Option<(Arc<Export>, Option<SpanContext>)>,
    response_ids: Vec<String>,
}

impl Evaluations {
    pub(super) fn new(export: Option<Arc<Export>>, response_ids: Vec<String>) -> Self {
        let to = export.map(|export| (export, recorded(&Span::current())));
        Self { to, response_ids }
    }

    /// Tells one.
    pub(crate) fn tell(&self, evaluation: &Evaluation<'_>) {
        let Some((export, span)) = &self.to else { return };
        let mut record = export.logger.create_log_record();
        record.set_event_name(EVENT);
        record.set_timestamp(SystemTime::now());
        record.set_severity_number(Severity::Info);
        if let Some(span) = span {
            record.set_trace_context(span.trace_id(), span.span_id(), Some(span.trace_flags()));
        }
        record.add_attribute("gen_ai.evaluation.name", evaluation.name.to_owned());
        if let Some(id) = self.response_ids.get(evaluation.response) {
            record.add_attribute("gen_ai.response.id", id.clone());
        }
        match evaluation.found {
            Ok(Score { value, label }) => {
                record.add_attribute("gen_ai.evaluation.score.value", value);
                if let Some(label) = label {
                    record.add_attribute("gen_ai.evaluation.score.label", label);
                }
            }
            Err(code) => record.add_attribute("error.type", code.to_owned()),
        }
        if export.explains && !evaluation.explanation.is_empty() {
            record.add_attribute("gen_ai.evaluation.explanation", evaluation.explanation.to_owned());
        }
        export.logger.emit(record);
    }
}
