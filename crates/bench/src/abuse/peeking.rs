//! Whether the time of an answer reveals another key's prompts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::Method;
use serde_json::json;

use super::{outcome::Outcome, report::Behaviour, scene::Scene};
use crate::{
    client::{Connection, Server},
    live::MARK,
};

/// Words of a prompt: enough that its prefill takes much longer than the rest of an answer.
const WORDS: usize = 400;
/// The smallest area under the curve (AUC) within one key with which the trial means anything.
const TELLING: f64 = 0.9;
/// How far the AUC across keys may be from chance: this, plus a number of standard errors.
const BETTER: f64 = 0.05;
const ERRORS: f64 = 3.0;

/// One key sends a prompt; another key sends the same prompt and a new one. The times of these two must not
/// differ. They do differ when the first key repeats its prompt, which shows that the effect is measurable.
pub(crate) async fn peeking(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let asker = scene.server(scene.neighbour.as_ref(), 0);
    let peeker = scene.server(scene.flooder.as_ref(), 0);
    let trials = scene.count(20, 200);
    let (mut known, mut others, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for trial in 0..trials {
        ask(&asker, 2 * trial).await?;
        known.push(ask(&asker, 2 * trial).await?);
        // In alternating order, so that neither kind always follows a pause.
        if trial % 2 == 0 {
            others.push(ask(&peeker, 2 * trial).await?);
            new.push(ask(&peeker, 2 * trial + 1).await?);
        } else {
            new.push(ask(&peeker, 2 * trial + 1).await?);
            others.push(ask(&peeker, 2 * trial).await?);
        }
    }
    let mut seen = Behaviour::default();
    seen.count(Outcome::Answered, 4 * trials);
    let (within, across) = (shorter(&known, &new), shorter(&others, &new));
    seen.figure("auc_within_a_key", within);
    seen.figure("auc_across_keys", across);
    // The standard error of the AUC for two equal samples from one distribution: Hanley and McNeil, 1982.
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

/// The time of an answer of one token to the long prompt with this number.
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

/// The probability that a time of the first sample is shorter than one of the second, ties counting half: the
/// AUC that measures how well times tell the two apart.
fn shorter(first: &[Duration], second: &[Duration]) -> f64 {
    let win_rate = |one: &Duration| {
        let better = second.iter().filter(|other| one < *other).count() as f64;
        better + second.iter().filter(|other| one == *other).count() as f64 / 2.0
    };
    first.iter().map(win_rate).sum::<f64>() / (first.len() * second.len()) as f64
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
