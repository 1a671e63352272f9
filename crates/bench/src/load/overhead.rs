//! The cost of HTTP and scheduling: many clients, and a critic that computes nothing.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{
    overhead_report::{OverheadPhase, OverheadReport, Span},
    service_times::ServiceTimes,
    tally::Tally,
    workload::{Kind, NumberedBody, Workload},
};
use crate::{
    arrivals::Arrivals,
    client::{Answer, Connection, Server},
    cpu_time::CpuTime,
    error::BenchError,
    machine::Machine,
};

/// The warm-up and the single client get one part in this many of a long phase's time each.
const SHORT_PHASES: u32 = 5;

/// Options of the overhead benchmark.
#[derive(Debug, Clone)]
pub struct OverheadOptions {
    /// Keep-alive connections, one per client.
    pub clients: usize,
    /// How long requests are sent in each of the two long phases.
    pub duration: Duration,
    /// The offered rate of the paced phase as a fraction of the closed loop's throughput.
    pub paced_part: f64,
    /// The seed of requests and arrivals.
    pub seed: u64,
    /// `mode` of the requests; the server's default if `None`.
    pub mode: Option<String>,
}

/// Measures a server with [`null_critic`](crate::null_critic) that records its own times in `service`. Blocks;
/// the server must run on other threads of this process.
///
/// # Errors
/// [`BenchError`] when an option is invalid, the server cannot be reached, or it judges no request of the
/// single client.
pub fn overhead(
    server: &Server,
    service: &ServiceTimes,
    options: &OverheadOptions,
) -> Result<OverheadReport, BenchError> {
    if options.clients == 0 {
        return Err(BenchError::None("clients"));
    }
    if !(options.paced_part > 0.0 && options.paced_part.is_finite()) {
        return Err(BenchError::Rate(options.paced_part));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(BenchError::Runtime)?.block_on(run(server, service, options))
}

async fn run(
    server: &Server,
    service: &ServiceTimes,
    options: &OverheadOptions,
) -> Result<OverheadReport, BenchError> {
    let OverheadOptions { clients, duration, paced_part, seed, .. } = *options;
    // Small images, since decoding base64 is not what is measured, and enough tokens for the null critic's
    // verdict.
    let kind = Kind { sides: 8..=32, max_tokens: 64, mode: options.mode.clone() };
    let bodies = Workload::new(clients, kind, seed).numbered_bodies()?;
    let mut crowd = Vec::with_capacity(clients);
    for (index, body) in (0..).zip(bodies) {
        let connection = Some(Connection::open(server).await?);
        crowd.push(Client {
            connection,
            server: server.clone(),
            body,
            next: index << 32,
            seed: seed + index,
        });
    }
    let mut bench = Bench { service, crowd };
    bench.run(1, Pace::Closed, duration / SHORT_PHASES).await; // warms up
    let one_client = bench.run(1, Pace::Closed, duration / SHORT_PHASES).await;
    if one_client.latency.max_ms == 0.0 {
        return Err(BenchError::NothingJudged(format!("{:?}", one_client.count.errors)));
    }
    let closed_loop = bench.run(clients, Pace::Closed, duration).await;
    let rate = (closed_loop.throughput_per_s * paced_part).max(f64::MIN_POSITIVE);
    let paced = bench.run(clients, Pace::Open(rate), duration).await;
    let machine = Machine::here();
    Ok(OverheadReport { benchmark: "overhead", machine, clients, seed, one_client, closed_loop, paced })
}

/// When clients send requests.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// As soon as the previous request is answered.
    Closed,
    /// At random times, at this rate per second for all clients together.
    Open(f64),
}

/// The clients, and the times that the server records.
struct Bench<'a> {
    service: &'a ServiceTimes,
    crowd: Vec<Client>,
}

impl Bench<'_> {
    /// Lets the first `clients` send for `duration`, and waits for their last answers.
    async fn run(&mut self, clients: usize, pace: Pace, duration: Duration) -> OverheadPhase {
        self.service.take();
        let (start, cpu) = (Instant::now(), CpuTime::now());
        let mut tasks = JoinSet::new();
        for client in self.crowd.drain(..clients) {
            match pace {
                Pace::Closed => tasks.spawn(client.closed(start + duration)),
                Pace::Open(rate) => tasks.spawn(client.paced(start, duration, rate / clients as f64)),
            };
        }
        let mut tally = Tally::default();
        while let Some(Ok((client, one))) = tasks.join_next().await {
            tally.merge(one);
            self.crowd.push(client);
        }
        let span = Span { elapsed: start.elapsed(), cpu: cpu.zip(CpuTime::now()) };
        let offered = match pace {
            Pace::Closed => None,
            Pace::Open(rate) => Some(rate),
        };
        OverheadPhase::new(offered, tally, &span, self.service.take())
    }
}

/// A client with a keep-alive connection.
struct Client {
    /// `None` after a failure, until the next request.
    connection: Option<Connection>,
    server: Server,
    body: NumberedBody,
    /// The number of the last request; no other client uses it.
    next: u64,
    seed: u64,
}

impl Client {
    /// Sends each request when the one before has been answered.
    async fn closed(mut self, end: Instant) -> (Self, Tally) {
        let mut tally = Tally::default();
        loop {
            self.judge(Instant::now(), &mut tally).await;
            if Instant::now() >= end {
                return (self, tally);
            }
        }
    }

    /// Sends requests at random times, at a mean of `rate_per_s`.
    async fn paced(mut self, start: Instant, duration: Duration, rate_per_s: f64) -> (Self, Tally) {
        let mut tally = Tally::default();
        for at in Arrivals::new(rate_per_s, self.seed).take_while(|at| *at < duration) {
            let due = start + at;
            // A request that fell due while the one before was running was delayed by the server, and its
            // latency begins when it was due. Otherwise the latency begins when the request is sent: a timer
            // that fires a millisecond late is not the server's fault.
            let kept_waiting = Instant::now() > due;
            tokio::time::sleep_until(due.into()).await;
            self.judge(if kept_waiting { due } else { Instant::now() }, &mut tally).await;
        }
        (self, tally)
    }

    /// Sends one request and records its outcome.
    async fn judge(&mut self, start: Instant, tally: &mut Tally) {
        let outcome = self.send().await;
        if outcome.is_err() {
            self.connection = None;
        }
        tally.note(&outcome, start.elapsed());
    }

    async fn send(&mut self) -> Result<Answer, BenchError> {
        self.next += 1;
        let body = self.body.with(self.next);
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.server).await?,
        };
        self.connection.insert(connection).judge(body).await
    }
}
