//! Metrics of the engine.

use std::{collections::BTreeSet, time::Duration};

use judge::{Ending, Fingerprint, GpuMemory, Lane, Observer, SequenceReport, Stage, StepReport};
use metrics::{Counter, Histogram};

use super::{Metrics, names};

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
        let duration = |phase| metrics.histogram(&names::STEP_DURATION_SECONDS, [phase]);
        let phase = |phase| Phase {
            duration: duration(phase),
            tokens: metrics.histogram(&names::STEP_TOKENS, [phase]),
            sequences: metrics.histogram(&names::STEP_BATCH_SIZE, [phase]),
        };
        for stage in [Stage::Waiting, Stage::Prefill, Stage::Decode] {
            metrics.counter(&names::CANCELLED_TOTAL, [word(stage)]).increment(0);
        }
        metrics.counter(&names::STEP_FAILURES_TOTAL, []).increment(0);
        Self {
            steps: metrics.counter(&names::STEPS_TOTAL, []),
            gap: metrics.histogram(&names::INTER_TOKEN_LATENCY_SECONDS, []),
            vision: duration("vision"),
            prefill: phase("prefill"),
            decode: phase("decode"),
            mixed: duration("mixed"),
            metrics,
        }
    }

    /// Records the times of a sequence, as far as it got.
    fn times(&self, lane: &str, sequence: &SequenceReport) {
        let SequenceReport { queued, to_first_token, to_choice, total, .. } = *sequence;
        let times = [
            (&names::PREFILL_SECONDS, to_first_token.map(|first| first.saturating_sub(queued))),
            (&names::DECODE_SECONDS, to_first_token.map(|first| total.saturating_sub(first))),
            (&names::TIME_TO_FIRST_TOKEN_SECONDS, to_first_token),
            (&names::TIME_TO_SCORE_SECONDS, to_choice),
        ];
        for (metric, time) in times {
            if let Some(time) = time {
                self.metrics.histogram(metric, [lane]).record(time);
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
            self.gauge(&names::GPU_MEMORY_BYTES, [kind]).set(bytes as f64);
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
        let lane = match sequence.lane {
            Lane::Score => "score",
            Lane::Explain => "explain",
        };
        let ending = match sequence.ending {
            Ending::Finished => "finished",
            Ending::Failed => "failed",
            Ending::Unwritable => "unwritable",
            Ending::Abandoned => "abandoned",
            Ending::Expired => "expired",
            Ending::QueueTimedOut => "waited",
        };
        metrics.counter(&names::SEQUENCES_TOTAL, [lane, ending]).increment(1);
        match (sequence.ending, sequence.stage) {
            (Ending::Abandoned, stage) => {
                metrics.counter(&names::CANCELLED_TOTAL, [word(stage)]).increment(1);
            }
            (Ending::Expired, Stage::Waiting) => {
                metrics.counter(&names::ADMISSION_REJECTIONS_TOTAL, ["deadline"]).increment(1);
            }
            (Ending::QueueTimedOut, _) => {
                metrics.counter(&names::ADMISSION_REJECTIONS_TOTAL, ["queue_timeout"]).increment(1);
            }
            (Ending::Failed, _) => metrics.counter(&names::STEP_FAILURES_TOTAL, []).increment(1),
            (Ending::Expired | Ending::Finished | Ending::Unwritable, _) => {}
        }
        metrics.histogram(&names::QUEUE_SECONDS, [lane]).record(sequence.queued);
        self.times(lane, sequence);
        if sequence.stage != Stage::Waiting {
            let cached = sequence.cached_tokens;
            for (source, tokens) in [("computed", sequence.prompt_tokens - cached), ("prefix_cache", cached)]
            {
                metrics.counter(&names::PROMPT_TOKENS_TOTAL, [source]).increment(tokens as u64);
            }
        }
        metrics.counter(&names::REPLY_TOKENS_TOTAL, [lane]).increment(sequence.reply_tokens as u64);
        let sizes = [
            (&names::IMAGE_TOKENS, sequence.visual_tokens),
            (&names::IMAGE_TILES, sequence.visual_tiles),
            (&names::GROUP_FANOUT, sequence.fanout),
        ];
        for (metric, size) in sizes.into_iter().filter(|(_, size)| *size > 0) {
            metrics.histogram(metric, []).record(size as f64);
        }
    }
}
