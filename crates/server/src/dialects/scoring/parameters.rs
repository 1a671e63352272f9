//! Checks the members of bodies. A member must be one that the route reads, or one that changes no number. Any
//! other is refused: the client would misinterpret an answer that ignores it.

use std::collections::{BTreeMap, HashMap};

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{
    error::{ApiError, LONGEST_VALUE, brief},
    json_body::JsonBytes,
};

/// The members of an object by name.
pub(in crate::dialects) type Members = BTreeMap<String, Value>;

/// Members for other servers that change no number here: names of requests, tasks and users, cache partitioning,
/// priority, the encoding of numbers, and how a text that is too long would be truncated (here it is refused).
///
/// Only routes check their members whose clients choose what the numbers mean: `/score`, `/rerank`, `/predict`,
/// `/generative_scoring`, `/v1/decisions`, `/v1/systemone` and `/generate`. The routes of reward models (`/classify`,
/// `/pooling`, `/v1/embeddings`, `/v1/chat/reward`, `/v1/score/evaluation`, `/get_reward`, `/rm`) have one number to
/// return, the reward. Trainers call them with a fixed body that has members for another server's model (verl sends
/// `use_activation: false`) and cannot change it, so that a refusal would only end their run.
const HARMLESS: [&str; 17] = [
    "cache_salt",
    "encoding_format",
    "max_chunks_per_doc",
    "max_tokens_per_doc",
    "max_tokens_per_query",
    "metadata",
    "priority",
    "request_id",
    "rid",
    "task",
    "truncate",
    "truncate_prompt_tokens",
    "truncation",
    "truncation_direction",
    "truncation_side",
    "user",
    "user_id",
];

/// Members that are `true` by default.
const TRUE_BY_DEFAULT: [&str; 4] = ["activation", "add_special_tokens", "softmax", "use_activation"];

/// Refuses a body with a member that is neither in `read` nor harmless; the error names the first one.
pub(in crate::dialects) fn check(body: &JsonBytes, read: &[&str]) -> Result<(), ApiError> {
    // Names only, without parsing the values, which may be large.
    let names: HashMap<String, IgnoredAny> = body.parse()?;
    if names.keys().all(|name| is_known(name, read)) {
        return Ok(());
    }
    check_members(&body.parse()?, read, "")
}

/// The same for an object at `path`, which is empty or ends with a dot.
pub(in crate::dialects) fn check_members(
    members: &Members,
    read: &[&str],
    path: &str,
) -> Result<(), ApiError> {
    let is_refused =
        |(name, value): &(&String, &Value)| !is_known(name, read) && !asks_for_nothing(name, value);
    let Some((name, _)) = members.iter().find(is_refused) else { return Ok(()) };
    Err(unsupported(&format!("{path}{}", brief(name.clone(), LONGEST_VALUE))))
}

/// The error for an unsupported parameter at `path`.
pub(super) fn unsupported(path: &str) -> ApiError {
    let message = format!("This server does not offer {path}; without it the request can be answered.");
    ApiError::invalid(path, message).with_code("unsupported_parameter")
}

/// The temperature by which differences between logits are divided before probabilities are computed; 1 by default.
///
/// # Errors
/// When it is not a finite number above 0.
pub(super) fn temperature(requested: Option<f64>) -> Result<f64, ApiError> {
    let temperature = requested.unwrap_or(1.0);
    if temperature.is_finite() && temperature > 0.0 {
        return Ok(temperature);
    }
    Err(ApiError::out_of_bounds("temperature", "temperature must be above 0."))
}

/// Whether a route that reads the members in `read` accepts this one.
fn is_known(name: &str, read: &[&str]) -> bool {
    read.contains(&name) || HARMLESS.contains(&name)
}

/// Whether a value requests nothing.
fn asks_for_nothing(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => *on == TRUE_BY_DEFAULT.contains(&name),
        Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(members: Value) -> Option<String> {
        let members: Members = serde_json::from_value(members).unwrap();
        let error = check_members(&members, &["query"], "questions[0].").err()?;
        assert_eq!(error.code(), "unsupported_parameter");
        error.param().map(str::to_owned)
    }

    #[test]
    fn what_would_change_the_answer_is_refused_by_its_name() {
        for harmless in [
            json!({ "query": 7, "user": "me", "priority": -3, "truncate": true, "truncation_direction": "Right" }),
            json!({ "raw_scores": false, "return_prompt_token_ids": null, "chat_template_kwargs": {}, "x": [], "y": "" }),
            json!({ "use_activation": true, "activation": true }),
            json!({ "truncate_prompt_tokens": -1, "truncation_side": "left", "truncation": true }),
            json!({ "truncation": "auto", "rank_fields": [] }),
        ] {
            assert_eq!(refused(harmless.clone()), None, "{harmless}");
        }
        for (members, name) in [
            (json!({ "raw_scores": true }), "raw_scores"),
            (json!({ "use_activation": false }), "use_activation"),
            (json!({ "score_extraction_token": "<x>" }), "score_extraction_token"),
            (json!({ "instruct": "Be kind." }), "instruct"),
            (json!({ "dimensions": 0 }), "dimensions"),
            (json!({ "rank_fields": ["text"] }), "rank_fields"),
        ] {
            assert_eq!(refused(members), Some(format!("questions[0].{name}")));
        }
    }

    #[test]
    fn a_temperature_is_above_0() {
        assert_eq!(temperature(None).ok(), Some(1.0));
        assert_eq!(temperature(Some(0.5)).ok(), Some(0.5));
        for wrong in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert_eq!(temperature(Some(wrong)).unwrap_err().param(), Some("temperature"));
        }
    }
}
