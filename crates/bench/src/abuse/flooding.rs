//! More requests than can be judged: from all clients, and from one key next to another.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use super::{outcome::Outcome, report::Behaviour, scene::Scene};
use crate::{
    arrivals::Arrivals,
    client::{Answer, IdleConnections, Server},
    error::BenchError,
    latency::Latency,
    load::Tally,
};

/// Source addresses of a flood.
const SOURCES: usize = 3;
/// Connections from each address: fewer than the server accepts from one, since clients limit their
/// connections, too.
const CONNECTIONS: usize = 900;
/// Clients that measure the capacity: as many as fill the engine's steps without long queues.
const CLOSED: usize = 32;
/// The rate of a flood as a multiple of the capacity.
const TIMES: f64 = 10.0;
/// The retries of OpenAI's client libraries.
const RETRIES: usize = 2;
/// The longest `Retry-After` that these libraries honour.
const LONGEST_WAIT_S: u64 = 60;

/// Ten times the capacity, first without and then with clients that retry.
pub(crate) async fn burst(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let capacity = capacity(scene).await?;
    let lasting = scene.span(2, 30);
    let mut seen = Behaviour::default();
    seen.figure("capacity_per_s", capacity);
    for (retries, name) in [(0, "goodput_per_s"), (RETRIES, "goodput_with_retries_per_s")] {
        let flooding = Flood { rate_per_s: capacity * TIMES, lasting, retries };
        let Flooded { tally, in_time, elapsed } = flood(scene, flooding).await;
        // While the flood lasts: afterwards only the retries of refused requests are left.
        seen.figure(name, in_time as f64 / lasting.as_secs_f64());
        seen.figure("refusal_p99_ms", Latency::of(tally.refusals.clone()).p99_ms);
        judge_tally(&mut seen, &tally);
        // The time from the end of the flood to the answer of the last queued request.
        seen.longest = seen.longest.max(elapsed.saturating_sub(lasting));
    }
    Ok(seen)
}

/// One key sends ten times the capacity; another one sends an occasional request, which must be answered.
pub(crate) async fn neighbour(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let own = scene.server(scene.neighbour.as_ref(), 0);
    let capacity = capacity(scene).await?;
    let lasting = scene.span(3, 60);
    let alone = now_and_then(scene, &own, lasting).await?;
    let flooding = Flood { rate_per_s: capacity * TIMES, lasting, retries: 0 };
    let (flooded, beside) = tokio::join!(flood(scene, flooding), now_and_then(scene, &own, lasting));
    let (Flooded { tally, .. }, beside) = (flooded, beside?);
    let mut seen = Behaviour::default();
    judge_tally(&mut seen, &tally);
    let judged = beside.latencies.len();
    let (before, after) = (Latency::of(alone.latencies), Latency::of(beside.latencies));
    seen.figure("capacity_per_s", capacity);
    seen.figure("alone_p50_ms", before.p50_ms);
    seen.figure("alone_p99_ms", before.p99_ms);
    seen.figure("beside_p50_ms", after.p50_ms);
    seen.figure("beside_p99_ms", after.p99_ms);
    seen.count(Outcome::NeighbourJudged, judged);
    if !beside.count.errors.is_empty() {
        seen.problems.push(format!("the neighbour was refused: {:?}", beside.count.errors));
    }
    Ok(seen)
}

/// Counts the outcomes of a flood; anything but verdicts and refusals because of load is a problem.
pub(crate) fn judge_tally(seen: &mut Behaviour, tally: &Tally) {
    seen.count(Outcome::Judged, tally.latencies.len());
    seen.count_errors(tally);
    for (why, count) in &tally.count.errors {
        let refused = ["429 rate_limit_exceeded", "503 overloaded"].contains(&why.as_str());
        if !refused {
            seen.problems.push(format!("{count} requests: {why}"));
        }
    }
}

/// Judgements per second, half of them with reasons, from as many clients as the engine runs at a time.
pub(crate) async fn capacity(scene: &Arc<Scene>) -> Result<f64, String> {
    let server = flooder(scene, 0);
    let (start, lasting) = (Instant::now(), scene.span(1, 10));
    let mut clients = JoinSet::new();
    for client in 0..CLOSED {
        let (scene, idle) = (scene.clone(), IdleConnections::new(&server));
        clients.spawn(async move {
            let body = |number| scene.mixed_judgement(100_000 * (client + 1) + number);
            one_after_another(&idle, start + lasting, body).await
        });
    }
    let mut all = Tally::default();
    clients.join_all().await.into_iter().for_each(|tally| all.merge(tally));
    match all.latencies.len() {
        0 => Err(format!("nothing was judged: {:?}", all.count.errors)),
        judged => Ok(judged as f64 / start.elapsed().as_secs_f64()),
    }
}

/// Sends judgements until `end`, each when the one before was answered; `body` makes the body of a number.
pub(crate) async fn one_after_another(
    idle: &IdleConnections,
    end: Instant,
    body: impl Fn(usize) -> String,
) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < end {
        let body = body(tally.count.sent);
        let sent = Instant::now();
        tally.note(&idle.judge(body.into()).await, sent.elapsed());
    }
    tally
}

/// How many requests are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flood {
    pub(crate) rate_per_s: f64,
    pub(crate) lasting: Duration,
    /// How often a refused request is repeated at most.
    pub(crate) retries: usize,
}

/// The outcome of a flood.
pub(crate) struct Flooded {
    pub(crate) tally: Tally,
    /// Verdicts that arrived while requests were still being sent.
    pub(crate) in_time: usize,
    /// The time until the last answer.
    pub(crate) elapsed: Duration,
}

/// Sends requests at a rate, whatever their outcomes.
pub(crate) async fn flood(scene: &Arc<Scene>, flood: Flood) -> Flooded {
    let Flood { rate_per_s, lasting, retries } = flood;
    let start = Instant::now();
    let source =
        |source| (IdleConnections::new(&flooder(scene, source)), Arc::new(Semaphore::new(CONNECTIONS)));
    let sources: [_; SOURCES] = std::array::from_fn(source);
    let mut requests = JoinSet::new();
    for (number, at) in Arrivals::new(rate_per_s, 1).take_while(|at| *at < lasting).enumerate() {
        tokio::time::sleep_until((start + at).into()).await;
        let (scene, (idle, places)) = (scene.clone(), sources[number % SOURCES].clone());
        requests.spawn(async move {
            let (mut tally, mut in_time) = (Tally::default(), 0);
            for attempt in 0..=retries {
                let place = places.acquire().await;
                let sent = Instant::now();
                let outcome = idle.judge(scene.mixed_judgement(number).into()).await;
                if tally.note(&outcome, sent.elapsed()).is_some() && start.elapsed() < lasting {
                    in_time += 1;
                }
                drop(place);
                match wait(&outcome) {
                    Some(wait) if attempt < retries => sleep(wait).await,
                    _ => break,
                }
            }
            (tally, in_time)
        });
    }
    let (mut all, mut in_time) = (Tally::default(), 0);
    for (tally, judged) in requests.join_all().await {
        all.merge(tally);
        in_time += judged;
    }
    Flooded { tally: all, in_time, elapsed: start.elapsed() }
}

/// The server as the flooding key requests it from one of several source addresses.
fn flooder(scene: &Scene, source: usize) -> Server {
    scene.server(scene.flooder.as_ref(), scene.group(1 + source))
}

/// How long a client waits before it repeats a refused request; `None` if it was not refused.
fn wait(outcome: &Result<Answer, BenchError>) -> Option<Duration> {
    let answer = outcome.as_ref().ok().filter(|answer| answer.status != 200)?;
    let told = answer.retry_after_s.filter(|told| *told <= LONGEST_WAIT_S);
    Some(told.map_or(Duration::from_millis(500), Duration::from_secs))
}

/// One request per second, or more often in a quick run.
pub(crate) async fn now_and_then(
    scene: &Arc<Scene>,
    server: &Server,
    lasting: Duration,
) -> Result<Tally, String> {
    let (start, idle) = (Instant::now(), IdleConnections::new(server));
    let pause = scene.limits.head / 10;
    let mut tally = Tally::default();
    while start.elapsed() < lasting {
        let body = scene.judgement(900_000 + tally.count.sent);
        let sent = Instant::now();
        tally.note(&idle.judge(body.into()).await, sent.elapsed());
        sleep(pause.saturating_sub(sent.elapsed())).await;
    }
    match tally.count.answered {
        0 => Err("the neighbour got no answer".to_owned()),
        _ => Ok(tally),
    }
}
