//! What a collector is told of verdicts and rewards, and the ids by which clients name what is judged.

use judge::Responses;

use super::{response::VerdictBody, reward::RewardsBody};
use crate::{
    error::ApiError,
    telemetry::{Evaluation, Evaluations, Score},
};

/// The longest id: those of OpenAI's completions have about 40 bytes.
const MAX_ID: usize = 256;

/// Refuses ids that are not one for each of `count` responses; none at all are right too.
pub(super) fn check_ids(ids: &[String], count: usize, path: &str) -> Result<(), ApiError> {
    if !ids.is_empty() && ids.len() != count {
        let message = format!("Each response needs an id of its own: {count} in all, not {}.", ids.len());
        return Err(ApiError::invalid(path, message));
    }
    match ids.iter().find(|id| id.is_empty() || id.len() > MAX_ID) {
        Some(_) => Err(ApiError::invalid(path, format!("An id has 1 to {MAX_ID} bytes."))),
        None => Ok(()),
    }
}

/// How many responses a case has.
pub(super) fn count(responses: &Responses) -> usize {
    match responses {
        Responses::One(_) => 1,
        Responses::Pair(..) => 2,
    }
}

/// Tells a verdict: the score of one response, or of two which is `better` (1), `worse` (0) or in a `tie` (0.5).
pub(super) fn verdict(evaluations: &Evaluations, verdict: &VerdictBody) {
    let (name, explanation) = (verdict.rubric(), verdict.justification());
    let tell = |response, value, label| {
        let found = Ok(Score { value, label });
        evaluations.tell(&Evaluation { name, response, found, explanation });
    };
    let (better, worse) = (Some("better"), Some("worse"));
    match (verdict.score(), verdict.preference()) {
        (Some(score), _) => tell(0, score, None),
        (None, Some("first")) => {
            tell(0, 1.0, better);
            tell(1, 0.0, worse);
        }
        (None, Some("second")) => {
            tell(0, 0.0, worse);
            tell(1, 1.0, better);
        }
        (None, Some(_)) => {
            tell(0, 0.5, Some("tie"));
            tell(1, 0.5, Some("tie"));
        }
        (None, None) => {}
    }
}

/// Tells rewards; the best response is `chosen` and the worst `rejected`, as preference learning has them.
pub(super) fn rewards(evaluations: &Evaluations, body: &RewardsBody) {
    for (response, value) in body.rewards.iter().enumerate() {
        let label = if body.chosen == Some(response) {
            Some("chosen")
        } else if body.rejected == Some(response) {
            Some("rejected")
        } else {
            None
        };
        let found = value.map(|value| Score { value, label }).ok_or("verdict_unavailable");
        evaluations.tell(&Evaluation { name: &body.rubric, response, found, explanation: "" });
    }
}

/// Tells that `count` responses could not be judged, and the code of why.
pub(super) fn failure(evaluations: &Evaluations, count: usize, error: &ApiError) {
    for response in 0..count {
        let found = Err(error.code());
        evaluations.tell(&Evaluation { name: "none", response, found, explanation: "" });
    }
}
