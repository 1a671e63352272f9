//! The body of a request to `/v1/systemone`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::super::choices::{
    AnswerOption, Named, PromptContent, Question, all_questions, check_members, free_text, is_blank,
    meaning_of, refuse_images, text_of, yes_or_no,
};
use crate::{
    dialects::{content::ImageUrl, null_as_default, parameters::Members},
    error::ApiError,
    extract::json_body::JsonBytes,
    images::ImageReader,
    json::object::only_from_objects,
};

/// The members that are read of a body.
const KNOWN_MEMBERS: [&str; 6] = ["model", "state", "questions", "instructions", "images", "seed"];

/// The members that are read of a question.
const KNOWN_MEMBERS_OF_QUESTION: [&str; 3] = ["type", "instructions", "criteria"];

/// A state, and questions about it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SystemOneBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// The subject of the questions: text, or other JSON, which is shown as JSON.
    state: Value,
    /// The questions by name. The answers are in the same order.
    #[schema(value_type = Map<String, SystemOneQuestion>)]
    questions: Named<SystemOneQuestion>,
    /// Instructions for all questions; other JSON than text is shown as JSON.
    #[serde(default, deserialize_with = "free_text")]
    #[schema(value_type = Value)]
    instructions: Option<String>,
    /// Images that belong to the state.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    images: Vec<ImageUrl>,
    /// Changes the places and the letters of the possible answers. The mean over as many seeds that follow each other
    /// as there are answers has none of the critic's preferences for them.
    seed: Option<i64>,
}

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self")]
struct SystemOneQuestion {
    /// The type of the question.
    #[serde(rename = "type")]
    kind: SystemOneKind,
    /// The text of the question; other JSON is shown as JSON. It may be absent, if the instructions for all questions
    /// or the criteria say what is asked.
    #[serde(default, deserialize_with = "free_text")]
    #[schema(value_type = Value)]
    instructions: Option<String>,
    /// For `noul`, optionally an object with the meanings of `true` and `false`. For `predicate`, optionally a text
    /// that says when the answer is yes, or an object of names and meanings, the first of which counts as true. For
    /// the other types, the possible answers: an object of names and meanings, or a list, for a score from the lowest
    /// level on.
    #[serde(default)]
    criteria: Value,
}

only_from_objects!(SystemOneQuestion);

/// The type of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SystemOneKind {
    /// Yes or no. The answer is the probability of yes.
    Noul,
    /// Whether a statement holds, an extension.
    Predicate,
    /// One of several answers.
    Choice,
    /// A level of several.
    Score,
}

/// A question that is asked, without what the critic is shown.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) kind: SystemOneKind,
    /// The levels of a score as they were given, lowest first.
    pub(super) levels: Vec<Value>,
}

/// A validated request.
pub(super) struct SystemOneRequest {
    pub(super) model: Option<String>,
    pub(super) subject: PromptContent,
    /// Each question, and what is needed to tell its answer.
    pub(super) questions: Vec<(Asked, Question)>,
}

impl SystemOneRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is invalid; all questions are checked before any is asked.
    pub(super) fn read(body: &JsonBytes, reader: &ImageReader<'_>) -> Result<Self, ApiError> {
        let read: SystemOneBody = body.parse()?;
        check_members(body, &KNOWN_MEMBERS, known_members)?;
        let SystemOneBody { model, state, questions: Named(questions), instructions, images, seed } = read;
        let mut subject = PromptContent::of_images(ImageUrl::read_all(images, reader)?);
        refuse_images(&state, "state")?;
        if !is_blank(&state) {
            subject.push_text(&text_of(state), "");
        }
        if subject.is_blank() {
            return Err(ApiError::invalid(
                "state",
                "The state is empty; give a text, other JSON or an image.",
            ));
        }
        if let Some(instructions) = instructions {
            subject.push_text(&instructions, "\n\n");
        }
        if questions.is_empty() {
            return Err(ApiError::invalid("questions", "There is no question."));
        }
        let questions = questions.into_iter().map(|(name, question)| question.read(name, seed));
        Ok(Self { model, subject, questions: all_questions(questions)? })
    }
}

impl SystemOneQuestion {
    /// Reads the question of this name.
    fn read(self, name: String, seed: Option<i64>) -> Result<(Asked, Question), ApiError> {
        let path = format!("questions.{name}");
        refuse_images(&self.criteria, &format!("{path}.criteria"))?;
        let options = self.options(&path)?;
        let Self { kind, instructions, criteria } = self;
        let mut content = PromptContent::default();
        if let Some(instructions) = instructions {
            content.push_text(&instructions, "");
        }
        let mut question = Question::new(content, options, &path, "criteria")?;
        if let Some(seed) = seed {
            question = question.with_seed(seed);
        }
        let levels = if kind == SystemOneKind::Score { levels(criteria) } else { Vec::new() };
        Ok((Asked { name, kind, levels }, question))
    }

    /// The possible answers to the question at `path`.
    ///
    /// # Errors
    /// When the criteria are none of a question of this type.
    fn options(&self, path: &str) -> Result<Vec<AnswerOption>, ApiError> {
        use SystemOneKind::{Choice, Noul, Predicate, Score};

        let refuse = |message: &str| Err(ApiError::invalid(format!("{path}.criteria"), message));
        let level = |(index, text): (usize, String)| AnswerOption::level(index, text);
        match (self.kind, &self.criteria) {
            (Noul | Predicate, Value::Null) => Ok(yes_or_no(None, None)),
            (Noul, Value::Object(sides))
                if sides.keys().all(|side| ["true", "false"].contains(&side.as_str())) =>
            {
                let meaning = |side: &str| sides.get(side).cloned().and_then(meaning_of);
                Ok(yes_or_no(meaning("true").as_deref(), meaning("false").as_deref()))
            }
            (Noul, _) => refuse("The criteria of a noul question must be an object with true and false."),
            (Predicate, Value::String(text)) => {
                Ok(yes_or_no(Some(text.as_str()).filter(|text| !text.trim().is_empty()), None))
            }
            (Predicate | Choice, Value::Object(named)) => Ok(described(named)),
            (Predicate, _) => refuse("The criteria of a predicate must be text or an object of answers."),
            (Choice, Value::Array(listed)) => {
                Ok(listed.iter().map(|answer| AnswerOption::new(text_of(answer.clone()), None)).collect())
            }
            (Score, Value::Object(named)) => {
                let texts = described(named).into_iter().map(|option| option.text);
                Ok(texts.enumerate().map(level).collect())
            }
            (Score, Value::Array(listed)) => {
                Ok(listed.iter().cloned().map(text_of).enumerate().map(level).collect())
            }
            (Choice | Score, _) => {
                refuse("The criteria must be an object or a list of the possible answers.")
            }
        }
    }
}

/// The answers of an object of names and meanings.
fn described(named: &Map<String, Value>) -> Vec<AnswerOption> {
    let option = |(name, meaning): (&String, &Value)| {
        AnswerOption::new(name.as_str(), meaning_of(meaning.clone()).as_deref())
    };
    named.iter().map(option).collect()
}

/// The members that are read of any question.
fn known_members(_: &Members) -> &'static [&'static str] {
    &KNOWN_MEMBERS_OF_QUESTION
}

/// The levels of a score's criteria as they were given, or their names.
fn levels(criteria: Value) -> Vec<Value> {
    match criteria {
        Value::Array(listed) => listed,
        Value::Object(named) => named.into_iter().map(|(name, _)| Value::String(name)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialects::parameters::assert_covers;

    fn options(question: Value) -> Result<Vec<(String, String)>, ApiError> {
        let question: SystemOneQuestion = serde_json::from_value(question).unwrap();
        let options = question.options("questions.a")?;
        Ok(options.into_iter().map(|AnswerOption { name, text }| (name, text)).collect())
    }

    #[test]
    fn every_member_that_is_read_is_known() {
        assert_covers::<SystemOneBody>(&KNOWN_MEMBERS, &[]);
        assert_covers::<SystemOneQuestion>(&KNOWN_MEMBERS_OF_QUESTION, &[]);
    }

    #[test]
    fn answers_follow_from_the_type_and_the_criteria() {
        for (kind, criteria, expected) in [
            ("noul", json!(null), [("yes", "yes"), ("no", "no")]),
            (
                "noul",
                json!({ "false": { "a": 1 }, "true": null }),
                [("yes", "yes"), ("no", r#"no: {"a":1}"#)],
            ),
            ("predicate", json!("it is"), [("yes", "yes: it is"), ("no", "no")]),
            (
                "predicate",
                json!({ "holds": "it is", "fails": "" }),
                [("holds", "holds: it is"), ("fails", "fails")],
            ),
            ("choice", json!({ "b": null, "a": "it is" }), [("b", "b"), ("a", "a: it is")]),
            ("choice", json!(["b", 2]), [("b", "b"), ("2", "2")]),
            ("score", json!(["bad", { "good": 1 }]), [("0", "bad"), ("1", r#"{"good":1}"#)]),
            ("score", json!({ "bad": null, "good": "it is" }), [("0", "bad"), ("1", "good: it is")]),
        ] {
            let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
            let question = json!({ "type": kind, "criteria": criteria });
            assert_eq!(options(question).unwrap(), expected, "{kind} {criteria}");
        }
        for (kind, criteria) in [
            ("noul", json!({ "yes": "it is" })),
            ("noul", json!("it is")),
            ("predicate", json!(["it is"])),
            ("choice", json!(null)),
            ("score", json!("bad")),
        ] {
            let refused = options(json!({ "type": kind, "criteria": criteria })).unwrap_err();
            assert_eq!(refused.param(), Some("questions.a.criteria"), "{kind} {criteria}");
        }
    }
}
