//! Outcomes of requests.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{client::Answer, error::BenchError};

/// Numbers of requests by outcome. When none is lost, `answered` equals `sent`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Requests that were sent.
    pub sent: usize,
    /// Requests that got a response with any status.
    pub answered: usize,
    /// The number of requests without a verdict by reason: a status and the server's error code, or `lost`.
    pub errors: BTreeMap<String, usize>,
}

impl Count {
    /// The number of requests without a verdict.
    pub fn failed(&self) -> usize {
        self.errors.values().sum()
    }
}

/// Token counts of judged requests, as the server reported them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompts, including images.
    pub prompt_tokens: usize,
    /// Prompt tokens that were cached from earlier requests.
    pub cached_tokens: usize,
    /// Tokens that the critic wrote.
    pub completion_tokens: usize,
}

/// Collects outcomes of requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) count: Count,
    pub(crate) usage: Usage,
    /// Latencies of requests that were judged.
    pub(crate) latencies: Vec<Duration>,
    /// Latencies of requests that got any other answer.
    pub(crate) refusals: Vec<Duration>,
}

impl Tally {
    /// Records a request's outcome, and returns the body if that is a verdict.
    pub(crate) fn note<'a>(
        &mut self,
        outcome: &'a Result<Answer, BenchError>,
        latency: Duration,
    ) -> Option<&'a [u8]> {
        self.count.sent += 1;
        let why = match outcome {
            Ok(Answer { status: 200, body, .. }) => {
                self.count.answered += 1;
                self.latencies.push(latency);
                return Some(body);
            }
            Ok(Answer { status, body, .. }) => {
                self.count.answered += 1;
                self.refusals.push(latency);
                format!("{status} {}", error_code(body))
            }
            Err(_) => "lost".to_owned(),
        };
        *self.count.errors.entry(why).or_default() += 1;
        None
    }

    /// Adds the token counts in the body of a verdict.
    pub(crate) fn note_usage(&mut self, body: &[u8]) {
        #[derive(Deserialize)]
        struct Verdict {
            usage: Usage,
        }
        let Ok(Verdict { usage }) = serde_json::from_slice(body) else { return };
        self.usage.prompt_tokens += usage.prompt_tokens;
        self.usage.cached_tokens += usage.cached_tokens;
        self.usage.completion_tokens += usage.completion_tokens;
    }

    /// Adds the outcomes of another tally.
    pub(crate) fn merge(&mut self, other: Self) {
        self.count.sent += other.count.sent;
        self.count.answered += other.count.answered;
        for (why, count) in other.count.errors {
            *self.count.errors.entry(why).or_default() += count;
        }
        self.usage.prompt_tokens += other.usage.prompt_tokens;
        self.usage.cached_tokens += other.usage.cached_tokens;
        self.usage.completion_tokens += other.usage.completion_tokens;
        self.latencies.extend(other.latencies);
        self.refusals.extend(other.refusals);
    }
}

/// The server's error code; empty if the body has none.
fn error_code(body: &[u8]) -> String {
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    body.and_then(|body| Some(body["error"]["code"].as_str()?.to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Tally;
    use crate::{client::Answer, error::BenchError};

    #[test]
    fn every_request_is_counted_by_what_became_of_it() {
        let answer =
            |status, body: &'static str| Ok(Answer { status, retry_after_s: None, body: body.into() });
        let mut tally = Tally::default();
        let verdict = answer(
            200,
            r#"{"score":7,"usage":{"prompt_tokens":9,"cached_tokens":4,"completion_tokens":2,"total_tokens":11}}"#,
        );
        let body = tally.note(&verdict, Duration::from_millis(5)).unwrap();
        tally.note_usage(body);
        let mut other = Tally::default();
        for outcome in [
            answer(503, r#"{"error":{"code":"overloaded"}}"#),
            answer(500, "?"),
            Err(BenchError::Address("x".into())),
        ] {
            assert!(other.note(&outcome, Duration::from_millis(1)).is_none());
        }
        tally.merge(other);
        assert_eq!((tally.count.sent, tally.count.answered, tally.count.failed()), (4, 3, 3));
        let whys: Vec<&str> = tally.count.errors.keys().map(String::as_str).collect();
        assert_eq!(whys, ["500 ", "503 overloaded", "lost"]);
        assert_eq!(tally.latencies, [Duration::from_millis(5)], "only verdicts have a latency");
        assert_eq!(tally.refusals, [Duration::from_millis(1); 2]);
        assert_eq!((tally.usage.prompt_tokens, tally.usage.cached_tokens), (9, 4));
    }
}
