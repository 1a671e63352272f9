//! A server under load: the same requests one at a time, then at random times at several rates. [`overhead()`] measures
//! the cost of HTTP and scheduling alone.

mod engine_figures;
mod overhead;
mod overhead_report;
mod report;
mod service_times;
mod tally;
mod workload;

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::{
    arrivals::Arrivals,
    client::{Answer, Connection, IdleConnections, Server},
    error::BenchError,
    machine::Machine,
};
pub(crate) use engine_figures::Health;
pub use engine_figures::Sample;
use engine_figures::Sampler;
pub use overhead::{OverheadOptions, overhead};
pub use overhead_report::{OverheadPhase, OverheadReport};
pub use report::{LoadPhase, LoadReport};
pub use service_times::ServiceTimes;
pub(crate) use tally::Tally;
pub use tally::{Count, Usage};
use workload::{Kind, Workload};

/// The offered rates when no rates are given: multiples of the rate at which requests are judged one at a time.
const MULTIPLES: [f64; 4] = [0.5, 1.0, 2.0, 4.0];

/// Options of the load benchmark.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Requests in each phase.
    pub requests: usize,
    /// Arrival rates in requests per second; if empty, multiples of the rate at which requests are judged one
    /// at a time.
    pub rates: Vec<f64>,
    /// The seed of requests and arrivals.
    pub seed: u64,
    /// Tokens that the critic may write for each request.
    pub max_tokens: usize,
    /// `mode` of the requests; the server's default if `None`.
    pub mode: Option<String>,
}

/// Measures a server under load. Blocks; the server must run on other threads.
///
/// # Errors
/// [`BenchError`] when an option is invalid, the server cannot be reached, or the first requests are not
/// judged.
pub fn load(server: &Server, options: &LoadOptions) -> Result<LoadReport, BenchError> {
    if options.requests == 0 {
        return Err(BenchError::None("requests"));
    }
    if let Some(rate) = options.rates.iter().find(|rate| !(**rate > 0.0 && rate.is_finite())) {
        return Err(BenchError::Rate(*rate));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(BenchError::Runtime)?.block_on(run(server, options))
}

async fn run(server: &Server, options: &LoadOptions) -> Result<LoadReport, BenchError> {
    let LoadOptions { requests, seed, .. } = *options;
    let model = Health::ask(&mut Connection::open(server).await?).await?.model;
    let kind = Kind { sides: 48..=320, max_tokens: options.max_tokens, mode: options.mode.clone() };
    let workload = Workload::new(requests, kind, seed);
    // Every phase uses images of its own shade, so that nothing is cached from the phase before. The very first
    // request touches memory that is ready for later ones; it is not counted.
    let first = workload.bodies(0)?.swap_remove(0);
    let answer = Connection::open(server).await?.judge(first).await?;
    if answer.status != 200 {
        return Err(BenchError::NothingJudged(String::from_utf8_lossy(&answer.body).into_owned()));
    }
    let one_at_a_time = one_at_a_time(server, workload.bodies(1)?).await?;
    let mut rates = options.rates.clone();
    if rates.is_empty() {
        rates.extend(MULTIPLES.map(|multiple| multiple * one_at_a_time.throughput_per_s));
    }
    let mut open = Vec::with_capacity(rates.len());
    for (index, rate) in rates.into_iter().enumerate() {
        // After 14 rates the shades repeat; by then their images have been evicted.
        let shade = 2 + (index % 14) as u8;
        let arrivals = Arrivals::new(rate, seed + index as u64);
        open.push(open_loop(server, workload.bodies(shade)?, arrivals).await?);
    }
    let machine = Machine::here();
    Ok(LoadReport { benchmark: "load", machine, model, requests, seed, one_at_a_time, open_loop: open })
}

/// Sends each request when the one before has been answered.
async fn one_at_a_time(server: &Server, bodies: Vec<Bytes>) -> Result<LoadPhase, BenchError> {
    let mut tally = Tally::default();
    let idle = IdleConnections::new(server);
    let start = Instant::now();
    let sampler = Sampler::start(server, start).await?;
    for body in bodies {
        let sent = Instant::now();
        note(&mut tally, idle.judge(body).await, sent.elapsed());
    }
    let elapsed = start.elapsed();
    if tally.latencies.is_empty() {
        return Err(BenchError::NothingJudged(format!("{:?}", tally.count.errors)));
    }
    Ok(LoadPhase::new(None, tally, elapsed, sampler.finish().await?))
}

/// Sends each request at its time, whatever happened to the others.
async fn open_loop(server: &Server, bodies: Vec<Bytes>, arrivals: Arrivals) -> Result<LoadPhase, BenchError> {
    let rate_per_s = arrivals.rate_per_s();
    let idle = IdleConnections::new(server);
    let start = Instant::now();
    let sampler = Sampler::start(server, start).await?;
    let mut requests = JoinSet::new();
    for (at, body) in arrivals.zip(bodies) {
        let due = start + at;
        tokio::time::sleep_until(due.into()).await;
        let idle = idle.clone();
        // The latency begins when the request was due, so that a late client cannot hide a slow server.
        requests.spawn(async move { (idle.judge(body).await, due.elapsed()) });
    }
    let mut tally = Tally::default();
    for (outcome, latency) in requests.join_all().await {
        note(&mut tally, outcome, latency);
    }
    let elapsed = start.elapsed();
    Ok(LoadPhase::new(Some(rate_per_s), tally, elapsed, sampler.finish().await?))
}

#[expect(clippy::needless_pass_by_value, reason = "the outcome ends here")]
fn note(tally: &mut Tally, outcome: Result<Answer, BenchError>, latency: Duration) {
    if let Some(body) = tally.note(&outcome, latency) {
        tally.note_usage(body);
    }
}
