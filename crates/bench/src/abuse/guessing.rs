//! Guesses of keys, and whether the time of a refusal reveals that a key is nearly right.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::Method;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{clients::each, outcome::Outcome, report::Behaviour, scene::Scene};
use crate::{client::Connection, extent::Extent};

/// The fraction of times that are kept, shortest first: the longest contain interruptions by the system.
const KEPT: f64 = 0.9;
/// The absolute value of Welch's t from which on two kinds of keys count as distinguishable.
const TELLING: f64 = 4.5;

/// What became of the guesses of a client, which stops at the first answer that is no refusal.
#[derive(Debug, Default)]
struct Guesses {
    /// Guesses that were refused because the key is unknown.
    unknown: usize,
    /// Guesses that were refused because there were too many.
    too_many: usize,
    /// Any other status.
    other: Option<u16>,
    time: Duration,
}

/// Random keys from one address: each must be refused, and the right key must still be accepted.
pub(crate) async fn guesses(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    const CLIENTS: usize = 8;
    let count = scene.count(20, 1250);
    let tried = each::<Guesses>(scene, CLIENTS, move |scene, client| {
        Box::pin(async move {
            let start = Instant::now();
            let mut random = StdRng::seed_from_u64(client as u64);
            let mut guesses = Guesses::default();
            for _ in 0..count {
                let key = format!("gavel-{:032x}", random.random::<u128>());
                match ask(&scene, key).await? {
                    401 => guesses.unknown += 1,
                    429 => guesses.too_many += 1,
                    status => {
                        guesses.other = Some(status);
                        break;
                    }
                }
            }
            Ok(Guesses { time: start.elapsed(), ..guesses })
        })
    })
    .await;
    let (mut seen, mut all) = (Behaviour::default(), Guesses::default());
    // The clients whose guesses came to something else, by what that was.
    let mut others = BTreeMap::<String, usize>::new();
    for client in tried {
        match client {
            Ok(Guesses { unknown, too_many, other, time }) => {
                all.unknown += unknown;
                all.too_many += too_many;
                seen.longest = seen.longest.max(time);
                if let Some(status) = other {
                    *others.entry(status.to_string()).or_default() += 1;
                }
            }
            Err(error) => *others.entry(error).or_default() += 1,
        }
    }
    seen.count(Outcome::Status(401), all.unknown);
    seen.count(Outcome::Status(429), all.too_many);
    if all.unknown + all.too_many != count * CLIENTS {
        seen.problems.push(format!("wrong keys came to {others:?}"));
    }
    let right = scene.access.key.clone().unwrap_or_default();
    match ask(scene, right).await {
        Ok(200) => {}
        other => seen.problems.push(format!("the right key from that address came to {other:?}")),
    }
    Ok(seen)
}

/// Sends a request with a key on a new connection; returns its status.
async fn ask(scene: &Scene, key: String) -> std::io::Result<u16> {
    let server = scene.server(Some(&key), 0);
    let asked =
        async { Connection::open(&server).await?.send(Method::GET, "/v1/models", Default::default()).await };
    asked.await.map(|answer| answer.status).map_err(std::io::Error::other)
}

/// Refusals of keys that differ from the right one in their last character, and of keys that differ in their
/// first, in random order: how significantly their times differ.
pub(crate) async fn timing(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let key = scene.access.key.clone().unwrap_or_default();
    let changed = |place: usize| {
        let mut letters: Vec<char> = key.chars().collect();
        letters[place] = if letters[place] == 'x' { 'y' } else { 'x' };
        letters.into_iter().collect::<String>()
    };
    let last = key.chars().count().checked_sub(1).ok_or("the key is empty")?;
    let mut connections = Vec::new();
    for key in [changed(last), changed(0)] {
        let server = scene.server(Some(&key), 0);
        connections.push(Connection::open(&server).await.map_err(|error| error.to_string())?);
    }
    let mut seen = Behaviour::default();
    let mut times = [Vec::new(), Vec::new()];
    let mut random = StdRng::seed_from_u64(4);
    for _ in 0..scene.count(200, 40_000) {
        let kind = usize::from(random.random_bool(0.5));
        let start = Instant::now();
        let connection = &mut connections[kind];
        let answer = connection.send(Method::GET, "/v1/models", Default::default()).await;
        let time = start.elapsed();
        match answer.map(|answer| answer.status) {
            Ok(status @ (401 | 429)) => seen.count(Outcome::Status(status), 1),
            other => return Err(format!("a wrong key came to {other:?}")),
        }
        times[kind].push(time);
        // The server may close the connection of a client that guesses.
        if !connection.is_open() {
            let key = if kind == 0 { changed(last) } else { changed(0) };
            let server = scene.server(Some(&key), 0);
            connections[kind] = Connection::open(&server).await.map_err(|error| error.to_string())?;
        }
    }
    let t = welch(times.map(kept).each_ref().map(Vec::as_slice));
    seen.figure("t", t);
    // With few requests a large t may be due to chance.
    if scene.extent == Extent::Full && t.abs() >= TELLING {
        seen.problems
            .push(format!("|t| = {:.1}: the time of a refusal tells how much of a key is right", t.abs()));
    }
    Ok(seen)
}

/// The shortest times, in microseconds.
fn kept(mut times: Vec<Duration>) -> Vec<f64> {
    times.sort_unstable();
    times.truncate((times.len() as f64 * KEPT) as usize);
    times.into_iter().map(|time| time.as_secs_f64() * 1e6).collect()
}

/// Welch's t of two samples: the difference of their means divided by its standard error.
fn welch(samples: [&[f64]; 2]) -> f64 {
    let [one, other] = samples.map(|sample| {
        let count = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / count;
        let variance = sample.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    (one.0 - other.0) / (one.1 + other.1).sqrt()
}

#[cfg(test)]
mod tests {
    use super::welch;

    #[test]
    fn t_tells_samples_apart_by_their_means_and_spreads() {
        // By hand: means 2 and 5, variances 1 and 1, three values each.
        let t = welch([&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]]);
        assert!((t + 3.0 / (2.0f64 / 3.0).sqrt()).abs() < 1e-12, "{t}");
        assert_eq!(welch([&[1.0, 3.0], &[1.0, 3.0]]), 0.0);
    }
}
