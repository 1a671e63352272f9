//! The report of a server under load.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{
    engine_figures::{Course, Sample},
    tally::{Count, Tally, Usage},
};
use crate::{latency::Latency, machine::Machine, table::Table};

/// Results of a server at several arrival rates.
#[derive(Debug, Clone, Serialize)]
pub struct LoadReport {
    /// Always `load`.
    pub benchmark: &'static str,
    /// The machine of the load generator, and of the server unless that ran elsewhere.
    pub machine: Machine,
    /// Name of the checkpoint.
    pub model: String,
    /// Requests in each phase.
    pub requests: usize,
    /// The seed of requests and arrivals.
    pub seed: u64,
    /// The phase in which each request was sent when the one before had been answered.
    pub one_at_a_time: LoadPhase,
    /// The phases in which requests were sent at random times, one phase for each rate.
    pub open_loop: Vec<LoadPhase>,
}

/// One phase: the whole workload sent once.
#[derive(Debug, Clone, Serialize)]
pub struct LoadPhase {
    /// The mean arrival rate; `None` when each request waited for the one before.
    pub offered_per_s: Option<f64>,
    /// The outcomes of the requests.
    #[serde(flatten)]
    pub count: Count,
    /// Seconds from the first request to the last answer.
    pub elapsed_s: f64,
    /// Judged requests per second.
    pub throughput_per_s: f64,
    /// Latency of judged requests, from the time at which they were due to be sent.
    pub latency: Latency,
    /// Latency of requests that got another answer than a verdict, from the time at which they were due to be sent.
    pub refusal: Latency,
    /// Latency of `/health`, which was polled all the time.
    pub probe: Latency,
    /// The number of running sequences, averaged over time.
    pub mean_running: f64,
    /// The number of queued requests, averaged over time.
    pub mean_waiting: f64,
    /// Steps of the engine.
    pub steps: u64,
    /// Tokens that the model computed.
    pub tokens: u64,
    /// Token counts of the judged requests.
    pub usage: Usage,
    /// The state of the engine over time.
    pub samples: Vec<Sample>,
}

impl LoadPhase {
    pub(crate) fn new(offered_per_s: Option<f64>, tally: Tally, elapsed: Duration, course: Course) -> Self {
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
