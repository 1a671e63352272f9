//! The event `gen_ai.evaluation.result` of OpenTelemetry's conventions for generative models, one for each judged
//! response.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::{
    logs::{LogRecord, Logger, Severity},
    trace::SpanContext,
};
use tracing::Span;

use super::{export::Export, trace_context::recorded};

const EVENT: &str = "gen_ai.evaluation.result";

/// The judgement of one response.
pub(crate) struct Evaluation<'a> {
    /// The name of the rubric.
    pub(crate) name: &'a str,
    /// Index of the response in the request.
    pub(crate) response: usize,
    /// The score, or the error code if there is none.
    pub(crate) found: Result<Score, &'a str>,
    /// The critic's justification; empty if there is none.
    pub(crate) explanation: &'a str,
}

/// A score, with a label if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Score {
    /// The score on the rubric's scale, a reward, or the result of a comparison: 1 for better, 0 for worse, 0.5 for
    /// a tie.
    pub(crate) value: f64,
    /// A label for a comparison or a reward, such as `better` or `chosen`.
    pub(crate) label: Option<&'static str>,
}

/// Reports the judgements of one request's responses. The events belong to the request's span, which the client's
/// `traceparent` makes part of the trace of the judged responses.
pub(crate) struct Evaluations {
    to: Option<(Arc<Export>, Option<SpanContext>)>,
    response_ids: Vec<String>,
}

impl Evaluations {
    pub(super) fn new(export: Option<Arc<Export>>, response_ids: Vec<String>) -> Self {
        let to = export.map(|export| (export, recorded(&Span::current())));
        Self { to, response_ids }
    }

    /// Emits an event for one judgement.
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
