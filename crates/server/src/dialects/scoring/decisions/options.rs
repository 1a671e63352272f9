//! The possible answers to a question of `/v1/decisions`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::choices::{self, AnswerOption, free_text, meaning_of, text_of};
use super::answer::ListedAnswer;

/// A possible answer of a choice.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum OptionBody {
    /// The answer alone.
    Alone(ChoiceValue),
    /// The answer with its meaning, in OpenAI's form.
    Value {
        /// The answer.
        value: ChoiceValue,
        /// The meaning of the answer.
        #[serde(default, deserialize_with = "free_text")]
        #[schema(value_type = Value)]
        description: Option<String>,
    },
    /// The answer with its meaning, in SGLang's form.
    Name {
        /// The name of the answer.
        name: String,
        /// The meaning of the answer; other JSON than text is shown as JSON.
        #[serde(default, deserialize_with = "free_text")]
        #[schema(value_type = Value)]
        description: Option<String>,
    },
}

/// An answer of a choice. A text and a boolean are distinct, also if they are written with the same letters.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ChoiceValue {
    /// Text.
    Text(String),
    /// A boolean.
    Flag(bool),
}

/// The answers yes and no with their meanings.
pub(super) fn yes_or_no(yes: Option<&str>, no: Option<&str>) -> Vec<(AnswerOption, ListedAnswer)> {
    let listed = |(option, value): (AnswerOption, u8)| {
        let listed = ListedAnswer { value: json!(value), label: option.name.clone() };
        (option, listed)
    };
    choices::yes_or_no(yes, no).into_iter().zip([1, 0]).map(listed).collect()
}

/// The answers of a choice. If some are booleans, all are shown and named as JSON, so that `true` and `"true"` differ.
pub(super) fn choice_of(options: Vec<OptionBody>) -> Vec<(AnswerOption, ListedAnswer)> {
    let options: Vec<(ChoiceValue, Option<String>)> =
        options.into_iter().map(OptionBody::into_parts).collect();
    let as_json = options.iter().any(|(value, _)| matches!(value, ChoiceValue::Flag(_)));
    let answer = |(value, meaning): (ChoiceValue, Option<String>)| {
        let value = json!(value);
        let label = if as_json { value.to_string() } else { text_of(value.clone()) };
        (AnswerOption::new(label.as_str(), meaning.as_deref()), ListedAnswer { value, label })
    };
    options.into_iter().map(answer).collect()
}

impl OptionBody {
    /// The answer and its meaning.
    fn into_parts(self) -> (ChoiceValue, Option<String>) {
        match self {
            Self::Alone(value) => (value, None),
            Self::Value { value, description } => (value, description),
            Self::Name { name, description } => (ChoiceValue::Text(name), description),
        }
    }
}

/// The level with this index, which is its name.
pub(super) fn level((index, level): (usize, Value)) -> (AnswerOption, ListedAnswer) {
    let (label, meaning) = label_of(level);
    let AnswerOption { text, .. } = AnswerOption::new(label.as_str(), meaning.as_deref());
    (AnswerOption::level(index, text), ListedAnswer { value: json!(index), label })
}

/// The label and the meaning of a level. An object with other members than those of OpenAI's form is one of SGLang's,
/// all of which is shown.
fn label_of(level: Value) -> (String, Option<String>) {
    if let Value::Object(members) = &level
        && let Some(Value::String(label)) = members.get("label")
        && members.keys().all(|name| ["label", "description"].contains(&name.as_str()))
    {
        return (label.clone(), members.get("description").cloned().and_then(meaning_of));
    }
    (text_of(level), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_apart_by_their_types() {
        let shown = |options: Value| -> Vec<(String, Value)> {
            let options: Vec<OptionBody> = serde_json::from_value(options).unwrap();
            choice_of(options).into_iter().map(|(option, listed)| (option.text, listed.value)).collect()
        };
        let described = json!({ "value": "b", "description": "c" });
        let named = json!({ "name": "d", "description": { "e": 1 } });
        let empty = json!({ "value": "f", "description": "" });
        let expected = [("a", "a"), ("b: c", "b"), (r#"d: {"e":1}"#, "d"), ("f", "f")];
        let expected = expected.map(|(text, value)| (text.to_owned(), json!(value)));
        assert_eq!(shown(json!(["a", described, named, empty])), expected);
        let expected = [("\"true\"", json!("true")), ("true", json!(true))];
        let expected = expected.map(|(text, value)| (text.to_owned(), value));
        assert_eq!(shown(json!([{ "value": "true" }, { "value": true }])), expected);
        for wrong in [json!([{ "value": 1 }]), json!([{ "name": "a", "weight": 2 }]), json!([["a", "b"]])] {
            assert!(serde_json::from_value::<Vec<OptionBody>>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_level_is_named_by_its_index_and_shown_by_its_label_or_as_json() {
        for (written, text, label) in [
            (json!("bad"), "bad", "bad"),
            (json!({ "label": "bad" }), "bad", "bad"),
            (json!({ "label": "bad", "description": "it is" }), "bad: it is", "bad"),
            (json!({ "label": "bad", "x": 1 }), r#"{"label":"bad","x":1}"#, r#"{"label":"bad","x":1}"#),
            (json!(["bad", 2]), r#"["bad",2]"#, r#"["bad",2]"#),
        ] {
            let (option, listed) = level((3, written));
            assert_eq!((option.name.as_str(), option.text.as_str()), ("3", text));
            assert_eq!((listed.value, listed.label.as_str()), (json!(3), label));
        }
    }
}
