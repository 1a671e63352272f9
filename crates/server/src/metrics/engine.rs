//! Metrics of the engine.

use std::{collections::BTreeSet, time::Duration};

use judge::{Ending, Fingerprint, GpuMemory, Lane, Observer, SequenceReport, Stage, StepReport};
use metrics::{Counter, Histogram};

use super::Metrics;

/// Records steps and sequences. The metrics that every step updates are looked up once.
#[derive(Debug)]
pub(crate) struct EngineMetrics {
    metrics: Metrics,
    steps: Counter,
    gap: Histogram,
    vision: Histogram,
    prefill: Phase,
    decode: Phase,
    /// Duration of steps with both prefill and decode.
    mixed: Histogram,
}

/// The metrics of one phase.
#[derive(Debug)]
struct Phase {
    /// Duration of steps that contain only this phase.
    duration: Histogram,
    tokens: Histogram,
    sequences: Histogram,
}

impl Phase {
    fn record(&self, sequences: usize, tokens: usize) {
        if sequences > 0 {
            self.sequences.record(sequences as f64);
            self.tokens.record(tokens as f64);
        }
    }
}

impl EngineMetrics {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let duration = |phase| metrics.histogram("gavel_step_duration_seconds", &[("phase", phase)]);
        let phase = |phase| Phase {
            duration: duration(phase),
            tokens: metrics.histogram("gavel_step_tokens", &[("phase", phase)]),
            sequences: metrics.histogram("gavel_step_batch_size", &[("phase", phase)]),
        };
        for stage in [Stage::Waiting, Stage::Prefill, Stage::Decode] {
            metrics.counter("gavel_cancelled_total", &[("stage", word(stage))]).increment(0);
        }
        metrics.counter("gavel_step_failures_total", &[]).increment(0);
        Self {
            steps: metrics.counter("gavel_steps_total", &[]),
            gap: metrics.histogram("gavel_inter_token_latency_seconds", &[]),
            vision: duration("vision"),
            prefill: phase("prefill"),
            decode: phase("decode"),
            mixed: duration("mixed"),
            metrics,
        }
    }

    /// Records the times of a sequence, as far as it got.
    fn times(&self, lane: (&'static str, &str), sequence: &SequenceReport) {
        let SequenceReport { queued, to_first_token, to_choice, total, .. } = *sequence;
        let times = [
            ("gavel_prefill_seconds", to_first_token.map(|first| first.saturating_sub(queued))),
            ("gavel_decode_seconds", to_first_token.map(|first| total.saturating_sub(first))),
            ("gavel_time_to_first_token_seconds", to_first_token),
            ("gavel_time_to_score_seconds", to_choice),
        ];
        for (name, time) in times {
            if let Some(time) = time {
                self.metrics.histogram(name, &[lane]).record(time);
            }
        }
    }
}

impl Metrics {
    /// Sets the partition of GPU memory; `None` on a CPU.
    pub(crate) fn set_gpu_memory(&self, memory: Option<GpuMemory>) {
        let Some(GpuMemory { weights, steps, images, cache, spare }) = memory else { return };
        let parts = [
            ("weights", weights),
            ("steps", steps),
            ("features", images),
            ("kv_cache", cache),
            ("spare", spare),
        ];
        for (kind, bytes) in parts {
            self.gauge("gavel_gpu_memory_bytes", &[("kind", kind)]).set(bytes as f64);
        }
    }
}

fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Waiting => "queued",
        Stage::Prefill => "prefill",
        Stage::Decode => "decode",
    }
}

impl Observer for EngineMetrics {
    fn about_to_run(&self, _: &BTreeSet<Fingerprint>) {}

    fn step(&self, step: &StepReport) {
        self.steps.increment(1);
        let replies = step.sequences - step.prompt_sequences;
        let whole = match (step.prompt_sequences, replies) {
            (_, 0) => &self.prefill.duration,
            (0, _) => &self.decode.duration,
            _ => &self.mixed,
        };
        whole.record(step.duration);
        self.prefill.record(step.prompt_sequences, step.prompt_tokens);
        self.decode.record(replies, step.reply_tokens);
        if !step.vision.is_zero() {
            self.vision.record(step.vision);
        }
    }

    fn wrote(&self, gap: Duration) {
        self.gap.record(gap);
    }

    fn ended(&self, sequence: &SequenceReport) {
        let metrics = &self.metrics;
        let count = |name, labels: &[(&'static str, &str)], by: usize| {
            metrics.counter(name, labels).increment(by as u64);
        };
        let lane = match sequence.lane {
            Lane::Score => ("lane", "score"),
            Lane::Explain => ("lane", "explain"),
        };
        let ending = match sequence.ending {
            Ending::Finished => "finished",
            Ending::Failed => "failed",
            Ending::Abandoned => "abandoned",
            Ending::Expired => "expired",
            Ending::QueueTimedOut => "waited",
        };
        count("gavel_sequences_total", &[lane, ("ending", ending)], 1);
        match (sequence.ending, sequence.stage) {
            (Ending::Abandoned, stage) => count("gavel_cancelled_total", &[("stage", word(stage))], 1),
            (Ending::Expired, Stage::Waiting) => {
                count("gavel_admission_rejections_total", &[("reason", "deadline")], 1);
            }
            (Ending::QueueTimedOut, _) => {
                count("gavel_admission_rejections_total", &[("reason", "queue_timeout")], 1)
            }
            (Ending::Failed, _) => count("gavel_step_failures_total", &[], 1),
            (Ending::Expired | Ending::Finished, _) => {}
        }
        metrics.histogram("gavel_queue_seconds", &[lane]).record(sequence.queued);
        self.times(lane, sequence);
        if sequence.stage != Stage::Waiting {
            let computed = sequence.prompt_tokens - sequence.cached_tokens;
            count("gavel_prompt_tokens_total", &[("source", "computed")], computed);
            count("gavel_prompt_tokens_total", &[("source", "prefix_cache")], sequence.cached_tokens);
        }
        count("gavel_reply_tokens_total", &[lane], sequence.reply_tokens);
        let sizes = [
            ("gavel_image_tokens", sequence.visual_tokens),
            ("gavel_image_tiles", sequence.visual_tiles),
            ("gavel_group_fanout", sequence.fanout),
        ];
        for (name, size) in sizes.into_iter().filter(|(_, size)| *size > 0) {
            metrics.histogram(name, &[]).record(size as f64);
        }
    }
}
