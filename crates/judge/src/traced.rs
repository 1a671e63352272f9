//! Where a sequence is, as spans for whoever records them: one for all of it, and in that one each for the line, the prompt
//! and the reply.

use engine::SequenceReport;
use tracing::{Span, debug_span, field};

/// The spans of one sequence. They cost next to nothing when nobody records them.
#[derive(Debug)]
pub(crate) struct SequenceSpans {
    whole: Span,
    /// Where it is now.
    stage: Span,
    writes: bool,
}

impl SequenceSpans {
    /// It was handed to the engine, on behalf of whatever span is current.
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

    /// Its prompt is read from now on.
    pub(crate) fn admitted(&mut self, cached_tokens: usize) {
        self.whole.record("cached_tokens", cached_tokens);
        self.stage = Span::none(); // one stage ends before the next begins
        self.stage = debug_span!(parent: &self.whole, "prefill");
    }

    /// There is something of its reply.
    pub(crate) fn replied(&mut self) {
        if !self.writes {
            self.writes = true;
            self.stage = Span::none();
            self.stage = debug_span!(parent: &self.whole, "decode");
        }
    }

    /// It is complete. The engine's own times are told beside the spans', which also have the reader's.
    pub(crate) fn finished(&mut self, report: &SequenceReport) {
        self.stage = Span::none();
        self.whole.record("gen_ai.usage.output_tokens", report.reply_tokens);
        self.whole.record("steps", report.steps);
        self.whole.record("queued_s", report.queued.as_secs_f64());
        self.whole.record("computed_s", report.total.saturating_sub(report.queued).as_secs_f64());
    }

    /// There will be no more of it.
    pub(crate) fn failed(&mut self, failure: &dyn std::error::Error) {
        self.stage = Span::none();
        self.whole.record("failure", field::display(failure));
    }
}
