//! The report of the cost of HTTP and scheduling.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::tally::{Count, Tally};
use crate::{cpu_time::CpuTime, latency::Latency, machine::Machine, table::Table};

/// Results of a server with a critic that computes nothing.
#[derive(Debug, Clone, Serialize)]
pub struct OverheadReport {
    /// Always `overhead`.
    pub benchmark: &'static str,
    /// The machine that client and server shared.
    pub machine: Machine,
    /// Keep-alive connections, one per client.
    pub clients: usize,
    /// The seed of requests and arrivals.
    pub seed: u64,
    /// One client alone, each request sent when the one before was answered: nothing waits for anything.
    pub one_client: OverheadPhase,
    /// All clients, each sending a request when its previous one was answered: the server's highest throughput.
    pub closed_loop: OverheadPhase,
    /// All clients, at random times and a fraction of that rate.
    pub paced: OverheadPhase,
}

/// The results of one phase.
#[derive(Debug, Clone, Serialize)]
pub struct OverheadPhase {
    /// The mean arrival rate; `None` when each request waited for its client's previous one.
    pub offered_per_s: Option<f64>,
    /// The outcomes of the requests.
    #[serde(flatten)]
    pub count: Count,
    /// Seconds from the first request to the last answer.
    pub elapsed_s: f64,
    /// Judged requests per second.
    pub throughput_per_s: f64,
    /// Latency of judged requests, as the client sees it.
    pub latency: Latency,
    /// The server's own time for each request, from its head to the response, including time in queues.
    pub service: Latency,
    /// CPU time of the server's threads per judged request, in microseconds; `None` where the system does not
    /// report it.
    pub server_cpu_us: Option<f64>,
    /// CPU time of the client's thread per judged request, in microseconds; `None` where the system does not
    /// report it.
    pub client_cpu_us: Option<f64>,
}

/// The duration of a phase, and the CPU time before and after it.
pub(crate) struct Span {
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Option<(CpuTime, CpuTime)>,
}

impl OverheadPhase {
    pub(crate) fn new(offered_per_s: Option<f64>, tally: Tally, span: &Span, service: Vec<Duration>) -> Self {
        let elapsed_s = span.elapsed.as_secs_f64();
        let judged = tally.latencies.len() as f64;
        let cpu = span.cpu.map(|(before, after)| after.since(before));
        let each = |time: Duration| time.as_secs_f64() * 1e6 / judged.max(1.0);
        Self {
            offered_per_s,
            elapsed_s,
            throughput_per_s: judged / elapsed_s,
            count: tally.count,
            latency: Latency::of(tally.latencies),
            service: Latency::of(service),
            server_cpu_us: cpu.map(|(_, server)| each(server)),
            client_cpu_us: cpu.map(|(client, _)| each(client)),
        }
    }

    fn cells(&self, name: &str) -> [String; 11] {
        let Self { count, latency, service, .. } = self;
        let known = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |value| format!("{value:.0}"));
        let offered = self.offered_per_s.map(|rate| format!(", {rate:.0}/s")).unwrap_or_default();
        [
            format!("{name}{offered}"),
            format!("{:.0}", self.throughput_per_s),
            format!("{:.2}", latency.p50_ms),
            format!("{:.2}", latency.p99_ms),
            format!("{:.2}", service.p50_ms),
            format!("{:.2}", service.p99_ms),
            known(self.server_cpu_us),
            known(self.client_cpu_us),
            count.sent.to_string(),
            (count.sent - count.answered).to_string(),
            count.failed().to_string(),
        ]
    }
}

impl fmt::Display for OverheadReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, seed, machine, .. } = self;
        writeln!(
            formatter,
            "a critic that computes nothing, {clients} clients, seed {seed}, {} cores for both ends",
            machine.cores
        )?;
        let mut table = Table::new([
            "requests",
            "judged/s",
            "p50 ms",
            "p99 ms",
            "server p50 ms",
            "server p99 ms",
            "server CPU µs",
            "client CPU µs",
            "sent",
            "lost",
            "errors",
        ]);
        table.row(self.one_client.cells("one client"));
        table.row(self.closed_loop.cells("all clients"));
        table.row(self.paced.cells("all, paced"));
        write!(formatter, "{table}")
    }
}
