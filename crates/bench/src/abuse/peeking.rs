//! Whether the time of an answer tells what somebody else has asked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::Method;
use serde_json::json;

use super::{report::Behaviour, scene::Scene};
use crate::{
    client::{Connection, Server},
    live::MARK,
};

/// Words of a prompt: so many that reading them takes much longer than the rest of an answer.
const WORDS: usize = 400;
/// How well times within one key must tell a known prompt from a new one, for the trial to mean anything.
const TELLING: f64 = 0.9;
/// How much better than chance the times of another's prompts may tell, and how many standard errors of chance beside that.
const BETTER: f64 = 0.05;
const ERRORS: f64 = 3.0;

/// One key asks; another one asks the same and something new. The times of both may not differ. They do when the first key asks the
/// same again, which shows that there is something to see.
pub(crate) async fn peeking(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let asker = scene.server(scene.neighbour.as_ref(), 0);
    let peeker = scene.server(scene.flooder.as_ref(), 0);
    let trials = scene.count(20, 200);
    let (mut known, mut others, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for trial in 0..trials {
        ask(&asker, 2 * trial).await?;
        known.push(ask(&asker, 2 * trial).await?);
        // In turn, so that neither kind is always the one that comes after a pause.
        if trial % 2 == 0 {
            others.push(ask(&peeker, 2 * trial).await?);
            new.push(ask(&peeker, 2 * trial + 1).await?);
        } else {
            new.push(ask(&peeker, 2 * trial + 1).await?);
            others.push(ask(&peeker, 2 * trial).await?);
        }
    }
    let mut seen = Behaviour::default();
    seen.count("answered", 4 * trials);
    let (within, across) = (shorter(&known, &new), shorter(&others, &new));
    seen.figure("auc_within_a_key", within);
    seen.figure("auc_across_keys", across);
    // The standard error of the area for two equal samples of one kind: Hanley and McNeil, 1982.
    let count = trials as f64;
    let chance = ((2.0 * count + 1.0) / (12.0 * count * count)).sqrt();
    if within < TELLING {
        seen.problems.push(format!("within a key the area is {within:.2}: the trial shows nothing"));
    }
    if (across - 0.5).abs() > BETTER + ERRORS * chance {
        seen.problems.push(format!("across keys the area is {across:.2}: times tell what others have asked"));
    }
    Ok(seen)
}

/// How long the first token takes that answers a long prompt of this number.
async fn ask(server: &Server, number: usize) -> Result<Duration, String> {
    let text = format!("{number} {MARK} {}", format!("{number} two ").repeat(WORDS / 2));
    let body = json!({ "messages": [{ "role": "user", "content": text }], "max_tokens": 1 });
    let told = |error: crate::error::BenchError| error.to_string();
    let mut connection = Connection::open(server).await.map_err(told)?;
    let start = Instant::now();
    let asked = connection.send(Method::POST, "/v1/chat/completions", body.to_string().into());
    match asked.await.map_err(told)?.status {
        200 => Ok(start.elapsed()),
        status => Err(format!("a prompt came to {status}")),
    }
}

/// How often a time of the first kind is shorter than one of the second, ties by half: the area under the curve that tells them
/// apart.
fn shorter(first: &[Duration], second: &[Duration]) -> f64 {
    let wins = |one: &Duration| {
        let better = second.iter().filter(|other| one < *other).count() as f64;
        better + second.iter().filter(|other| one == *other).count() as f64 / 2.0
    };
    first.iter().map(wins).sum::<f64>() / (first.len() * second.len()) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::shorter;

    #[test]
    fn the_area_is_that_of_pairs() {
        let times = |ms: &[u64]| ms.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
        assert_eq!(shorter(&times(&[1, 2]), &times(&[3, 4])), 1.0);
        assert_eq!(shorter(&times(&[3, 4]), &times(&[1, 2])), 0.0);
        // Of four pairs two are shorter and one is equal.
        assert_eq!(shorter(&times(&[1, 3]), &times(&[2, 3])), (2.0 + 0.5) / 4.0);
    }
}
