//! Checks the members of bodies. A member must be one that the route reads, or one that changes no number. Any
//! other is refused: the client would misinterpret an answer that ignores it.

use std::collections::{BTreeMap, HashMap};

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{
    error::{ApiError, ErrorCode, LONGEST_VALUE, brief},
    extract::json_body::JsonBytes,
};

/// The members of an object by name.
pub(super) type Members = BTreeMap<String, Value>;

/// Members for other servers that change no number here: names of requests, tasks and users, cache partitioning,
/// priority, the encoding of numbers, and how a text that is too long would be truncated (here it is refused).
///
/// Only routes check their members whose clients choose what the numbers mean: `/score`, `/rerank`, `/predict`,
/// `/generative_scoring`, `/v1/decisions`, `/v1/systemone` and `/generate`. The routes of reward models (`/classify`,
/// `/pooling`, `/v1/embeddings`, `/v1/chat/reward`, `/v1/score/evaluation`, `/get_reward`, `/rm`) have one number to
/// return, the reward. Trainers call them with a fixed body that has members for another server's model (verl sends
/// `use_activation: false`) and cannot change it, so that a refusal would only end their run. They refuse images alone.
const HARMLESS: [&str; 21] = [
    "cache_salt",
    "encoding_format",
    "max_chunks_per_doc",
    "max_tokens_per_doc",
    "max_tokens_per_query",
    "metadata",
    "priority",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "request_id",
    "rid",
    "safety_identifier",
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
pub(super) fn check(body: &JsonBytes, read: &[&str]) -> Result<(), ApiError> {
    match members_if(body, |name| !is_known(name, read))? {
        Some(members) => check_members(&members, read, ""),
        None => Ok(()),
    }
}

/// The members of a body that has one whose name `concerns` the caller; `None` if it has none. Most bodies have none,
/// and then their values are not parsed: they may be images, and take much memory once parsed.
pub(super) fn members_if(
    body: &JsonBytes,
    concerns: impl Fn(&str) -> bool,
) -> Result<Option<Members>, ApiError> {
    let names: HashMap<String, IgnoredAny> = body.parse()?;
    names.keys().any(|name| concerns(name)).then(|| body.parse()).transpose()
}

/// The same for an object at `path`, which is empty or ends with a dot.
pub(super) fn check_members(members: &Members, read: &[&str], path: &str) -> Result<(), ApiError> {
    let is_refused =
        |(name, value): &(&String, &Value)| !is_known(name, read) && !asks_for_nothing(name, value);
    let Some((name, _)) = members.iter().find(is_refused) else { return Ok(()) };
    Err(unsupported(&format!("{path}{}", brief(name.clone(), LONGEST_VALUE))))
}

/// The error for an unsupported parameter at `path`.
pub(super) fn unsupported(path: &str) -> ApiError {
    let message = format!("This server does not offer {path}; without it the request can be answered.");
    ApiError::invalid(path, message).with_code(ErrorCode::UnsupportedParameter)
}

/// Whether a route that reads the members in `read` accepts this one.
fn is_known(name: &str, read: &[&str]) -> bool {
    read.contains(&name) || HARMLESS.contains(&name)
}

/// The name of the first of `members` whose value requests something.
pub(super) fn first_asked<'a>(
    members: impl IntoIterator<Item = (&'a str, Option<&'a Value>)>,
) -> Option<&'a str> {
    let asks = |(name, value): (&'a str, Option<&Value>)| {
        value.is_some_and(|value| !asks_for_nothing(name, value)).then_some(name)
    };
    members.into_iter().find_map(asks)
}

/// Whether the value of a member requests nothing.
fn asks_for_nothing(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => *on == TRUE_BY_DEFAULT.contains(&name),
        Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => {
            members.is_empty() || (name == "chat_template_kwargs" && is_no_thinking(value))
        }
    }
}

/// Whether the value of `chat_template_kwargs` only switches off thinking before the answer, which is always off here.
pub(super) fn is_no_thinking(value: &Value) -> bool {
    let asks = |(name, value): (&String, &Value)| {
        let is_thinking = ["enable_thinking", "thinking"].contains(&name.as_str());
        !(value.is_null() || is_thinking && value == &Value::Bool(false))
    };
    value.as_object().is_some_and(|options| !options.iter().any(asks))
}

/// Checks that `known` are the members in the schema of `T`, which follow from its fields, and `others`: second names
/// of fields, and members that are accepted although no field has them.
#[cfg(test)]
pub(super) fn assert_covers<T: utoipa::ToSchema>(known: &[&str], others: &[&str]) {
    use std::collections::BTreeSet;

    use utoipa::openapi::{RefOr, schema::Schema};

    let RefOr::T(Schema::Object(object)) = T::schema() else { panic!("{} is not an object", T::name()) };
    let fields: BTreeSet<&str> = object.properties.keys().map(String::as_str).collect();
    assert!(others.iter().all(|other| !fields.contains(other)), "{}", T::name());
    let all: BTreeSet<&str> = fields.into_iter().chain(others.iter().copied()).collect();
    assert_eq!(all, known.iter().copied().collect(), "{}", T::name());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(members: Value) -> Option<String> {
        let members: Members = serde_json::from_value(members).unwrap();
        let error = check_members(&members, &["query"], "questions[0].").err()?;
        assert_eq!(error.code(), ErrorCode::UnsupportedParameter);
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
            json!({ "safety_identifier": "me", "prompt_cache_key": "a", "prompt_cache_options": { "ttl": "30m" } }),
            json!({ "chat_template_kwargs": { "enable_thinking": false, "thinking": false, "x": null } }),
        ] {
            assert_eq!(refused(harmless.clone()), None, "{harmless}");
        }
        for (members, name) in [
            (json!({ "raw_scores": true }), "raw_scores"),
            (json!({ "use_activation": false }), "use_activation"),
            (json!({ "score_extraction_token": "<x>" }), "score_extraction_token"),
            (json!({ "instruct": "Be kind." }), "instruct"),
            (json!({ "chat_template_kwargs": { "enable_thinking": true } }), "chat_template_kwargs"),
            (json!({ "chat_template_kwargs": { "style": false } }), "chat_template_kwargs"),
            (json!({ "extra_body": { "enable_thinking": false } }), "extra_body"),
            (json!({ "dimensions": 0 }), "dimensions"),
            (json!({ "rank_fields": ["text"] }), "rank_fields"),
        ] {
            assert_eq!(refused(members), Some(format!("questions[0].{name}")));
        }
    }
}
