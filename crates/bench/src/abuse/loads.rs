//! Heavy but honest load: a growing number of clients, a steady rate, and rewards next to single judgements.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    flooding::{Flood, capacity, flood, judge_tally, now_and_then, one_after_another},
    outcome::Outcome,
    report::Behaviour,
    scene::Scene,
};
use crate::{
    client::{Connection, IdleConnections},
    latency::Latency,
    live::MARK,
    load::Tally,
};

/// Numbers of clients that send requests one after another, and the names of their figures.
const CROWDS: [(usize, &str); 4] = [
    (1, "judged_per_s_by_1"),
    (8, "judged_per_s_by_8"),
    (64, "judged_per_s_by_64"),
    (512, "judged_per_s_by_512"),
];
/// The steady load as a fraction of the capacity.
const STEADY: f64 = 0.8;
/// Clients that request rewards, as trainers do.
const TRAINERS: usize = 16;

/// A growing number of clients, each of which sends its next request when it was answered. None may be refused.
pub(crate) async fn crowd(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let mut seen = Behaviour::default();
    let (mut best, mut last) = (0.0_f64, 0.0);
    for (clients, name) in CROWDS {
        let (start, lasting) = (Instant::now(), scene.span(1, 20));
        let mut asking = JoinSet::new();
        for client in 0..clients {
            let (scene, idle) =
                (scene.clone(), IdleConnections::new(&scene.server(scene.crowd.as_ref(), client)));
            asking.spawn(async move {
                let body = |number| scene.judgement(client * 1_000_000 + number);
                one_after_another(&idle, start + lasting, body).await
            });
        }
        let tallies = asking.join_all().await;
        let counts = tallies.iter().map(|tally| tally.latencies.len());
        let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
        let mut all = Tally::default();
        tallies.into_iter().for_each(|tally| all.merge(tally));
        last = all.latencies.len() as f64 / start.elapsed().as_secs_f64();
        best = best.max(last);
        seen.figure(name, last);
        seen.count(Outcome::Judged, all.latencies.len());
        seen.count_errors(&all);
        if clients == CROWDS[CROWDS.len() - 1].0 {
            seen.figure("most_judged_of_a_client", most as f64);
            seen.figure("least_judged_of_a_client", least as f64);
            seen.figure("p99_ms_of_most_clients", Latency::of(all.latencies).p99_ms);
        }
    }
    seen.figure("percent_of_best_with_most_clients", 100.0 * last / best);
    seen.must_be(&[Outcome::Judged]);
    Ok(seen)
}

/// Requests at random times, at a rate that can be judged.
pub(crate) async fn steady(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let capacity = capacity(scene).await?;
    let steady = Flood { rate_per_s: capacity * STEADY, lasting: scene.span(2, 120), retries: 0 };
    let tally = flood(scene, steady).await.tally;
    let latency = Latency::of(tally.latencies.clone());
    let mut seen = Behaviour::default();
    judge_tally(&mut seen, &tally);
    seen.figure("asked_per_s", capacity * STEADY);
    seen.figure("p50_ms", latency.p50_ms);
    seen.figure("p99_ms", latency.p99_ms);
    seen.figure("p99_to_p50", latency.p99_ms / latency.p50_ms);
    Ok(seen)
}

/// Trainers that request rewards of five responses each, next to a client with an occasional judgement.
pub(crate) async fn rewards(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let own = scene.server(scene.neighbour.as_ref(), 0);
    let lasting = scene.span(3, 60);
    let alone = now_and_then(scene, &own, lasting).await?;
    let end = Instant::now() + lasting;
    let mut trainers = JoinSet::new();
    for trainer in 0..TRAINERS {
        trainers.spawn(train(scene.clone(), trainer, end));
    }
    let (beside, trained) = tokio::join!(now_and_then(scene, &own, lasting), trainers.join_all());
    let beside = beside?;
    let mut all = Tally::default();
    trained.into_iter().for_each(|tally| all.merge(tally));
    let mut seen = Behaviour::default();
    seen.count(Outcome::Rewarded, all.latencies.len());
    seen.count_errors(&all);
    seen.must_be(&[Outcome::Rewarded]);
    seen.figure("comparisons_per_s", 20.0 * all.latencies.len() as f64 / lasting.as_secs_f64());
    let (before, after) = (Latency::of(alone.latencies), Latency::of(beside.latencies));
    seen.figure("judge_alone_p99_ms", before.p99_ms);
    seen.figure("judge_beside_p50_ms", after.p50_ms);
    seen.figure("judge_beside_p99_ms", after.p99_ms);
    Ok(seen)
}

async fn train(scene: Arc<Scene>, trainer: usize, end: Instant) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < end {
        let question = format!("What is there in picture {trainer}-{}, {MARK}?", tally.count.sent);
        let responses =
            ["A red circle.", "A blue square.", "Two green shapes.", "Nothing.", "I do not know."];
        let body = json!({ "question": question, "images": [scene.image], "responses": responses });
        let sent = Instant::now();
        let outcome = async {
            let mut connection = Connection::open(&scene.server(scene.crowd.as_ref(), trainer)).await?;
            connection.send(Method::POST, "/reward", body.to_string().into()).await
        };
        tally.note(&outcome.await, sent.elapsed());
    }
    tally
}

/// A large number of requests on one connection.
pub(crate) async fn one_connection(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let requests = scene.count(2_000, 1_000_000);
    let told = |error: crate::error::BenchError| error.to_string();
    let mut connection = Connection::open(&scene.server(scene.crowd.as_ref(), 0)).await.map_err(told)?;
    let (start, mut longest, mut seen) = (Instant::now(), Duration::ZERO, Behaviour::default());
    for _ in 0..requests {
        let sent = Instant::now();
        let answer = connection.send(Method::GET, "/livez", Vec::new().into()).await.map_err(told)?;
        longest = longest.max(sent.elapsed());
        if answer.status != 200 {
            return Err(format!("status {}", answer.status));
        }
    }
    seen.count(Outcome::Answered, requests);
    seen.longest = longest;
    seen.figure("requests_per_s", requests as f64 / start.elapsed().as_secs_f64());
    Ok(seen)
}
