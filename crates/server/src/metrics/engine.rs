//! Figures of the engine at work.

use judge::{Ending, Lane, Observer, SequenceReport, Stage, StepReport};
use metrics::{Counter, Histogram};

use super::Metrics;

/// Counts steps and sequences. What every step touches is looked up once.
#[derive(Debug)]
pub(crate) struct EngineMetrics {
    metrics: Metrics,
    steps: Counter,
    duration: Histogram,
    sequences: Histogram,
    prompt_tokens: Histogram,
    reply_tokens: Histogram,
}

impl EngineMetrics {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let histogram = |name| metrics.histogram(name, &[]);
        Self {
            steps: metrics.counter("gavel_steps_total", &[]),
            duration: histogram("gavel_step_duration_seconds"),
            sequences: histogram("gavel_sequences_per_step"),
            prompt_tokens: histogram("gavel_prompt_tokens_per_step"),
            reply_tokens: histogram("gavel_reply_tokens_per_step"),
            metrics,
        }
    }
}

impl Observer for EngineMetrics {
    fn step(&self, step: &StepReport) {
        self.steps.increment(1);
        self.duration.record(step.duration);
        self.sequences.record(step.sequences as f64);
        self.prompt_tokens.record(step.prompt_tokens as f64);
        self.reply_tokens.record(step.reply_tokens as f64);
    }

    fn ended(&self, sequence: &SequenceReport) {
        let lane = match sequence.lane {
            Lane::Score => "score",
            Lane::Explain => "explain",
        };
        let ending = match sequence.ending {
            Ending::Finished => "finished",
            Ending::Failed => "failed",
            Ending::Abandoned => "abandoned",
        };
        let stage = match sequence.stage {
            Stage::Waiting => "waiting",
            Stage::Prefill => "prefill",
            Stage::Decode => "decode",
        };
        let metrics = &self.metrics;
        metrics
            .counter("gavel_sequences_total", &[("lane", lane), ("ending", ending), ("stage", stage)])
            .increment(1);
        metrics.histogram("gavel_queue_seconds", &[("lane", lane)]).record(sequence.queued);
        let times = [
            ("gavel_time_to_first_token_seconds", sequence.to_first_token),
            ("gavel_time_to_score_seconds", sequence.to_choice),
        ];
        for (name, time) in times {
            if let Some(time) = time {
                metrics.histogram(name, &[("lane", lane)]).record(time);
            }
        }
        if sequence.stage != Stage::Waiting {
            let computed = sequence.prompt_tokens - sequence.cached_tokens;
            for (source, tokens) in [("computed", computed), ("prefix_cache", sequence.cached_tokens)] {
                metrics.counter("gavel_prompt_tokens_total", &[("source", source)]).increment(tokens as u64);
            }
        }
        let written = metrics.counter("gavel_reply_tokens_total", &[("lane", lane)]);
        written.increment(sequence.reply_tokens as u64);
    }
}
