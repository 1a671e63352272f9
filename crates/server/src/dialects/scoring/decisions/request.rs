//! The body of a request to `/v1/decisions`.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::choices::{
    self, PromptContent, Question, all_questions, check_members, free_text, is_blank, refuse_images,
};
use super::{
    answer::Asked,
    input::InputReader,
    options::{OptionBody, choice_of, level, yes_or_no},
};
use crate::{
    dialects::{content::ImageUrl, null_as_default, parameters::Members},
    error::{ApiError, quoted},
    extract::json_body::JsonBytes,
    json::{limits::JsonLimits, object::only_from_objects},
};

/// The version of the questions' wording. A client that has been evaluated with one version can refuse another.
pub(super) const PROMPT_FORMAT_VERSION: u32 = 1;

/// The members that are read of a body.
const KNOWN_MEMBERS: [&str; 6] =
    ["model", "input", "images", "questions", "prompt_format_version", "temperature"];

/// The members that are read of a choice.
const KNOWN_MEMBERS_OF_CHOICE: [&str; 7] =
    ["id", "type", "question", "instructions", "name", "options", "choices"];

/// The members that are read of a score.
const KNOWN_MEMBERS_OF_SCORE: [&str; 6] = ["id", "type", "question", "instructions", "name", "levels"];

/// The members that are read of a question whose answer is yes or no.
const KNOWN_MEMBERS_OF_PREDICATE: [&str; 7] = ["id", "type", "question", "instructions", "name", "yes", "no"];

/// The maximum number of levels of a score, as with OpenAI, vLLM and SGLang.
const MAX_LEVELS: usize = 10;

/// The subject, and the questions about it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DecisionsBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// The subject of the questions: text; in OpenAI's form a list of messages, or of parts (`input_text`,
    /// `input_image`, `input_json`); in SGLang's form any other JSON, which is shown as JSON.
    input: Value,
    /// Images that belong to the subject, before those in it. In SGLang's form.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    images: Vec<ImageUrl>,
    /// The questions. If all have an `id`, the answers are an object by id, as SGLang returns them, else a list, as
    /// OpenAI and vLLM do, in which an id is the `name` of a question without one.
    questions: Vec<QuestionBody>,
    /// The version of the wording that the client requires. If absent, any.
    prompt_format_version: Option<u32>,
    /// The temperature by which differences between logits are divided before probabilities are computed; 1 if
    /// absent. `label_mass` and `confidence` are always those at temperature 1.
    temperature: Option<f64>,
}

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self")]
struct QuestionBody {
    /// Id of the question, in SGLang's form.
    id: Option<String>,
    /// The type of the question.
    #[serde(rename = "type")]
    kind: QuestionKind,
    /// The text of the question, in SGLang's form; other JSON is shown as JSON.
    #[serde(default)]
    question: Value,
    /// The same, in OpenAI's form: text, or a list of parts as in `input`. Either this or `question` is required.
    #[serde(default)]
    instructions: Value,
    /// Name of the question, in OpenAI's form.
    name: Option<String>,
    /// For a choice: the answers, in SGLang's form.
    options: Option<Vec<OptionBody>>,
    /// The same, in OpenAI's form.
    choices: Option<Vec<OptionBody>>,
    /// For a score: each level, lowest first, as an object with `label` and `description`, or as its meaning alone,
    /// which may be any other JSON.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    levels: Vec<Value>,
    /// For yes or no: when the answer is yes.
    #[serde(default, deserialize_with = "free_text")]
    #[schema(value_type = Value)]
    yes: Option<String>,
    /// For yes or no: when the answer is no.
    #[serde(default, deserialize_with = "free_text")]
    #[schema(value_type = Value)]
    no: Option<String>,
}

only_from_objects!(QuestionBody);

/// The type of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum QuestionKind {
    /// One of several answers.
    Choice,
    /// A level of several.
    Score,
    /// Yes or no, in SGLang's form.
    YesNo,
    /// Yes or no, in OpenAI's form.
    Predicate,
}

/// A validated request.
pub(super) struct DecisionsRequest {
    pub(super) model: Option<String>,
    pub(super) temperature: f64,
    pub(super) subject: PromptContent,
    /// Each question, and what is needed to answer it in the form of the request.
    pub(super) questions: Vec<(Asked, Question)>,
}

impl DecisionsRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is invalid; all questions are checked before any is asked.
    pub(super) fn read(body: &JsonBytes, reader: &InputReader<'_, '_>) -> Result<Self, ApiError> {
        let read: DecisionsBody = body.parse()?;
        check_members(body, &KNOWN_MEMBERS, known_members)?;
        let DecisionsBody { model, input, images, questions, prompt_format_version, temperature } = read;
        let mut subject = PromptContent::of_images(ImageUrl::read_all(images, reader.images)?);
        if !is_blank(&input) {
            reader.read(input, "input", &mut subject)?;
        }
        if subject.is_blank() {
            return Err(ApiError::invalid("input", "The input is empty; give a text or an image."));
        }
        let temperature = choices::temperature(temperature)?;
        if let Some(other) = prompt_format_version.filter(|version| *version != PROMPT_FORMAT_VERSION) {
            let message =
                format!("This server words questions by version {PROMPT_FORMAT_VERSION}, not {other}.");
            return Err(ApiError::invalid("prompt_format_version", message));
        }
        check_ids(&questions)?;
        let questions = questions.into_iter().enumerate();
        let questions =
            questions.map(|(index, question)| question.read(&format!("questions[{index}]"), reader));
        let questions = all_questions(questions)?;
        check_size(&subject, &questions, reader.limits)?;
        Ok(Self { model, temperature, subject, questions })
    }
}

impl QuestionBody {
    /// Reads the question at `path`.
    fn read(self, path: &str, reader: &InputReader<'_, '_>) -> Result<(Asked, Question), ApiError> {
        let Self { id, kind, question, instructions, name, options, choices, levels, yes, no } = self;
        let given = |text: Value| Some(text).filter(|text| !is_blank(text));
        let text = one_of(path, [("question", given(question)), ("instructions", given(instructions))])?;
        let (member, text) = text.ok_or_else(|| ApiError::missing(format!("{path}.question")))?;
        let mut content = PromptContent::default();
        let text_path = format!("{path}.{member}");
        reader.read(text, &text_path, &mut content)?;
        if content.is_blank() {
            return Err(ApiError::invalid(text_path, "The question is empty; give a text or an image."));
        }
        for (index, level) in levels.iter().enumerate() {
            refuse_images(level, &format!("{path}.levels[{index}]"))?;
        }
        let (member, answers) = match kind {
            QuestionKind::YesNo | QuestionKind::Predicate => {
                ("type", yes_or_no(yes.as_deref(), no.as_deref()))
            }
            QuestionKind::Score if levels.len() > MAX_LEVELS => {
                let message = format!("A score has from 2 to {MAX_LEVELS} levels, not {}.", levels.len());
                return Err(ApiError::invalid(format!("{path}.levels"), message));
            }
            QuestionKind::Score => ("levels", levels.into_iter().enumerate().map(level).collect()),
            QuestionKind::Choice => {
                let options = one_of(path, [("options", options), ("choices", choices)])?;
                let (member, options) = options.unwrap_or(("options", Vec::new()));
                (member, choice_of(options))
            }
        };
        let (options, listed) = answers.into_iter().unzip();
        let question = Question::new(content, options, path, member)?;
        Ok((Asked { kind, id, name, listed }, question))
    }
}

/// Refuses more images and more text than a body may have.
fn check_size(
    subject: &PromptContent,
    questions: &[(Asked, Question)],
    limits: &JsonLimits,
) -> Result<(), ApiError> {
    let questions = || questions.iter().map(|(_, question)| question);
    limits.check_images(subject.image_paths().chain(questions().flat_map(Question::image_paths)))?;
    let bytes = subject.text_bytes() + questions().map(Question::text_bytes).sum::<usize>();
    limits.check_text(bytes, "input")
}

/// The members that are read of a question of the type that it names.
fn known_members(question: &Members) -> &'static [&'static str] {
    match question.get("type").and_then(Value::as_str) {
        Some("choice") => &KNOWN_MEMBERS_OF_CHOICE,
        Some("score") => &KNOWN_MEMBERS_OF_SCORE,
        _ => &KNOWN_MEMBERS_OF_PREDICATE,
    }
}

/// The one of two members of the object at `path` that mean the same, with its name; `None` if neither is there.
///
/// # Errors
/// When both are there.
fn one_of<T>(
    path: &str,
    members: [(&'static str, Option<T>); 2],
) -> Result<Option<(&'static str, T)>, ApiError> {
    match members {
        [(name, Some(value)), (_, None)] | [(_, None), (name, Some(value))] => Ok(Some((name, value))),
        [(_, None), (_, None)] => Ok(None),
        [(name, Some(_)), (other, Some(_))] => {
            let message = format!("Give one of {name} and {other}, which mean the same.");
            Err(ApiError::invalid(format!("{path}.{other}"), message))
        }
    }
}

/// Refuses a body without questions or with duplicate ids.
fn check_ids(questions: &[QuestionBody]) -> Result<(), ApiError> {
    if questions.is_empty() {
        return Err(ApiError::invalid("questions", "There is no question."));
    }
    let mut known = HashSet::new();
    let mut ids =
        questions.iter().enumerate().filter_map(|(index, question)| Some((index, question.id.as_ref()?)));
    let Some((index, id)) = ids.find(|(_, id)| !known.insert(*id)) else { return Ok(()) };
    let message = format!(
        "There are two questions {}; ids must be unique, since answers are keyed by them.",
        quoted(id)
    );
    Err(ApiError::invalid(format!("questions[{index}].id"), message))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::dialects::parameters::assert_covers;

    #[test]
    fn every_member_that_is_read_is_known() {
        assert_covers::<DecisionsBody>(&KNOWN_MEMBERS, &[]);
        let of_question: BTreeSet<&str> =
            [&KNOWN_MEMBERS_OF_CHOICE[..], &KNOWN_MEMBERS_OF_SCORE, &KNOWN_MEMBERS_OF_PREDICATE]
                .into_iter()
                .flatten()
                .copied()
                .collect();
        assert_covers::<QuestionBody>(&of_question.into_iter().collect::<Vec<_>>(), &[]);
    }

    #[test]
    fn a_question_has_the_members_of_its_type() {
        for (kind, member) in
            [("choice", "options"), ("score", "levels"), ("yes_no", "yes"), ("predicate", "no")]
        {
            let question = Members::from([("type".to_owned(), json!(kind))]);
            for name in ["options", "levels", "yes", "no"] {
                let is_of_type = name == member || (["yes", "no"].contains(&name) && member.len() < 4);
                assert_eq!(known_members(&question).contains(&name), is_of_type, "{kind} {name}");
            }
        }
    }
}
