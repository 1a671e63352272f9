//! Evaluation events for the trace collector: verdicts and rewards, with the client's ids of the responses.

use std::collections::HashSet;

use judge::{Preference, Responses};

use super::{response::VerdictBody, reward::RewardsBody};
use crate::{
    error::{ApiError, quoted},
    telemetry::{Evaluation, Evaluations, Score},
};

/// The maximum length of an id in bytes; the ids of OpenAI's completions have about 40.
const MAX_ID_BYTES: usize = 256;

/// Checks that there is one id for each of `count` responses, of 1 to [`MAX_ID_BYTES`] bytes, and no id twice; no ids
/// at all are valid too.
pub(super) fn check_ids(ids: &[String], count: usize, path: &str) -> Result<(), ApiError> {
    if !ids.is_empty() && ids.len() != count {
        let message = format!("Each response needs an id of its own: {count} in all, not {}.", ids.len());
        return Err(ApiError::invalid(path, message));
    }
    if ids.iter().any(|id| id.is_empty() || id.len() > MAX_ID_BYTES) {
        return Err(ApiError::invalid(path, format!("An id has 1 to {MAX_ID_BYTES} bytes.")));
    }
    let mut known = HashSet::new();
    match ids.iter().find(|id| !known.insert(*id)) {
        Some(twice) => {
            let message = format!("Two responses have the id {}.", quoted(twice));
            Err(ApiError::invalid(path, message))
        }
        None => Ok(()),
    }
}

/// The number of responses of a case.
pub(super) fn response_count(responses: &Responses) -> usize {
    responses.texts().count()
}

/// Exports a verdict: the score of one response, or for each of two `better` (1), `worse` (0) or `tie` (0.5).
pub(super) fn export_verdict(evaluations: &Evaluations, verdict: &VerdictBody) {
    let (name, explanation) = (verdict.rubric(), verdict.justification());
    let export = |response, value, label| {
        let found = Ok(Score { value, label });
        evaluations.tell(&Evaluation { name, response, found, explanation });
    };
    let (better, worse) = (Some("better"), Some("worse"));
    match (verdict.score(), verdict.preference()) {
        (Some(score), _) => export(0, score, None),
        (None, Some(Preference::First)) => {
            export(0, 1.0, better);
            export(1, 0.0, worse);
        }
        (None, Some(Preference::Second)) => {
            export(0, 0.0, worse);
            export(1, 1.0, better);
        }
        (None, Some(Preference::Tie)) => {
            export(0, 0.5, Some("tie"));
            export(1, 0.5, Some("tie"));
        }
        (None, None) => {}
    }
}

/// Exports rewards. The best response is labelled `chosen` and the worst `rejected`, the terms of preference
/// learning.
pub(super) fn export_rewards(evaluations: &Evaluations, body: &RewardsBody) {
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

/// Exports the error code of a failed judgement for each of `count` responses.
pub(super) fn export_failure(evaluations: &Evaluations, count: usize, error: &ApiError) {
    for response in 0..count {
        let found = Err(error.code().as_str());
        evaluations.tell(&Evaluation { name: "none", response, found, explanation: "" });
    }
}
