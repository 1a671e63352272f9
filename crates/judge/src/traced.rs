//! Tracing spans of a sequence: one for the whole, with children for the queue, the prefill and the decoding.

use engine::SequenceReport;
use tracing::{Span, debug_span, field};

/// The spans of one sequence. Their cost is negligible when they are not recorded.
#[derive(Debug)]
pub(crate) struct SequenceSpans {
    whole: Span,
    /// The span of the current stage.
    stage: Span,
    writes: bool,
}

impl SequenceSpans {
    /// Starts the spans when the sequence is submitted to the engine, as children of the current span.
    pub(crate) fn submitted(prompt_tokens: usize) -> Self {
        let whole = debug_span!(
            "sequence",
            "gen_ai.usage.input_tokens" = prompt_tokens,
            "gen_ai.usage.output_tokens" = field::Empty,
            cached_tokens = field::Empty,
            steps = field::Empty,
            queued_s = field::Empty,
            computed_s = field::Empty,
            failure = field::Empty,
        );
        let stage = debug_span!(parent: &whole, "queue");
        Self { whole, stage, writes: false }
    }

    /// Starts the prefill stage.
    pub(crate) fn admitted(&mut self, cached_tokens: usize) {
        self.whole.record("cached_tokens", cached_tokens);
        self.stage = Span::none(); // one stage ends before the next begins
        self.stage = debug_span!(parent: &self.whole, "prefill");
    }

    /// Starts the decode stage at the first part of the reply.
    pub(crate) fn replied(&mut self) {
        if !self.writes {
            self.writes = true;
            self.stage = Span::none();
            self.stage = debug_span!(parent: &self.whole, "decode");
        }
    }

    /// Ends the spans of a complete sequence. The engine's own times are recorded as fields, since the spans also
    /// include the time of the reader.
    pub(crate) fn finished(&mut self, report: &SequenceReport) {
        self.stage = Span::none();
        self.whole.record("gen_ai.usage.output_tokens", report.reply_tokens);
        self.whole.record("steps", report.steps);
        self.whole.record("queued_s", report.queued.as_secs_f64());
        self.whole.record("computed_s", report.total.saturating_sub(report.queued).as_secs_f64());
    }

    /// Ends the spans of a failed sequence.
    pub(crate) fn failed(&mut self, failure: &dyn std::error::Error) {
        self.stage = Span::none();
        self.whole.record("failure", field::display(failure));
    }
}
