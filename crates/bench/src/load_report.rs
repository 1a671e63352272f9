//! What a server did under load.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    engine_figures::{Course, Sample},
    latency::Latency,
    machine::Machine,
    table::Table,
    tally::{Count, Tally, Usage},
};

/// A server under several rates of arrivals.
#[derive(Debug, Clone, Serialize)]
pub struct LoadReport {
    /// Always `load`.
    pub benchmark: &'static str,
    /// On what it ran; the server, too, when it was not elsewhere.
    pub machine: Machine,
    /// Name of the checkpoint.
    pub model: String,
    /// Requests in each phase.
    pub requests: usize,
    /// From which requests and arrivals follow.
    pub seed: u64,
    /// The requests, each sent when the one before was answered.
    pub one_at_a_time: LoadPhase,
    /// The requests, sent at random times whatever the server does, at one rate after another.
    pub open_loop: Vec<LoadPhase>,
}

/// The same requests once.
#[derive(Debug, Clone, Serialize)]
pub struct LoadPhase {
    /// The mean rate at which requests came; none when each waited for the one before.
    pub offered_per_s: Option<f64>,
    /// What became of the requests.
    #[serde(flatten)]
    pub count: Count,
    /// From the first request to the last answer.
    pub elapsed_s: f64,
    /// Requests that were judged, each second.
    pub throughput_per_s: f64,
    /// Of requests that were judged, from the time at which they were due to be sent.
    pub latency: Latency,
    /// Of requests that were refused, from the same time.
    pub refusal: Latency,
    /// Of `/health`, which was asked all the while.
    pub probe: Latency,
    /// Mean over time of the sequences that ran.
    pub mean_running: f64,
    /// Mean over time of the requests that waited.
    pub mean_waiting: f64,
    /// Steps of the engine.
    pub steps: u64,
    /// Tokens that the model ran.
    pub tokens: u64,
    /// Tokens of the requests.
    pub usage: Usage,
    /// The engine over time.
    pub samples: Vec<Sample>,
}

impl LoadPhase {
    pub(crate) fn new(
        offered_per_s: Option<f64>,
        tally: Tally,
        (elapsed, course): (Duration, Course),
    ) -> Self {
        let elapsed_s = elapsed.as_secs_f64();
        Self {
            offered_per_s,
            elapsed_s,
            throughput_per_s: tally.latencies.len() as f64 / elapsed_s,
            count: tally.count,
            latency: Latency::of(tally.latencies),
            refusal: Latency::of(tally.refusals),
            probe: Latency::of(course.probes.clone()),
            mean_running: course.mean(|sample| sample.running),
            mean_waiting: course.mean(|sample| sample.waiting),
            steps: course.steps,
            tokens: course.tokens,
            usage: tally.usage,
            samples: course.samples,
        }
    }

    fn cells(&self) -> [String; 12] {
        let Self { latency, usage, .. } = self;
        [
            self.offered_per_s.map_or_else(|| "one at a time".to_owned(), |rate| format!("{rate:.2}/s")),
            format!("{:.2}", self.throughput_per_s),
            format!("{:.0}", latency.p50_ms),
            format!("{:.0}", latency.p90_ms),
            format!("{:.0}", latency.p99_ms),
            self.count.failed().to_string(),
            format!("{:.1}", self.refusal.p99_ms),
            format!("{:.1}", self.probe.p99_ms),
            format!("{:.2}", self.mean_running),
            format!("{:.2}", self.mean_waiting),
            format!("{:.1}", self.tokens as f64 / self.steps.max(1) as f64),
            format!("{:.0} %", 100.0 * usage.cached_tokens as f64 / usage.prompt_tokens.max(1) as f64),
        ]
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, requests, seed, machine, .. } = self;
        writeln!(
            formatter,
            "{model}, {requests} requests in each line, seed {seed}, {} cores",
            machine.cores
        )?;
        let mut table = Table::new([
            "arrivals",
            "judged/s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "errors",
            "their p99",
            "probe p99",
            "running",
            "waiting",
            "tokens/step",
            "cached",
        ]);
        for phase in std::iter::once(&self.one_at_a_time).chain(&self.open_loop) {
            table.row(phase.cells());
        }
        write!(formatter, "{table}")
    }
}
