//! `POST /v1/decisions`, in the forms of SGLang and vLLM: decisions read from logits.

use std::{collections::HashSet, sync::Arc};

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{
    bodies::DecisionsUsage,
    choices::{self, AnswerProbabilities, Answers, Chooser, Question, question_text, text_of},
    examples,
    failures::Failures,
    scorer::Scorer,
};
use crate::{
    dialects::{
        content::ImageUrl,
        null_as_default,
        parameters::{self, Members},
    },
    error::{ApiError, ErrorBody, quoted},
    json_body::JsonBytes,
    json_object::only_from_objects,
};

/// The version of the questions' wording. A client that has been evaluated with one version can refuse another.
const PROMPT_FORMAT_VERSION: u32 = 1;

/// The members that are read of a body.
const KNOWN_MEMBERS: [&str; 6] =
    ["model", "input", "images", "questions", "prompt_format_version", "temperature"];

/// The members that are read of a question.
const KNOWN_MEMBERS_OF_QUESTION: [&str; 10] =
    ["id", "type", "question", "instructions", "name", "options", "choices", "levels", "yes", "no"];

/// The subject, and the questions about it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DecisionsBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// The subject of the questions: text or other JSON.
    input: Value,
    /// Images that belong to the subject.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    images: Vec<ImageUrl>,
    /// The questions. If all have an `id`, the answers are an object by id, as SGLang returns them, else a list, as
    /// vLLM does, in which an id is the `name` of a question without one.
    questions: Vec<QuestionBody>,
    /// The version of the wording that the client requires. If absent, any.
    prompt_format_version: Option<u32>,
    /// The temperature by which differences between logits are divided before probabilities are computed; 1 if
    /// absent. `label_mass` is always that at temperature 1.
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
    /// The text of the question.
    #[serde(alias = "instructions")]
    question: String,
    /// Name of the question, in vLLM's form.
    name: Option<String>,
    /// For a choice: the answers, as names or as objects with `name` and `description`.
    #[serde(default, alias = "choices", deserialize_with = "null_as_default")]
    #[schema(nullable)]
    options: Vec<OptionBody>,
    /// For a score: the meaning of each level, lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    levels: Vec<String>,
    /// For yes or no: when the answer is yes.
    yes: Option<String>,
    /// For yes or no: when the answer is no.
    no: Option<String>,
}

only_from_objects!(QuestionBody);

/// The maximum number of levels of a score, as with vLLM and SGLang.
const MAX_LEVELS: usize = 10;

/// The type of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum QuestionKind {
    /// One of several answers.
    Choice,
    /// A level of several.
    Score,
    /// Yes or no, in SGLang's form.
    YesNo,
    /// Yes or no, in vLLM's form.
    Predicate,
}

/// A possible answer of a choice.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum OptionBody {
    /// The name of the answer.
    Name(String),
    /// The name of the answer with its meaning.
    Described {
        /// The name of the answer.
        name: String,
        /// The meaning of the answer.
        description: Option<String>,
    },
}

/// The answers to all questions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DecisionsResponse {
    /// Always `decisions`.
    object: &'static str,
    /// The model's name in the request, or that of the checkpoint.
    model: String,
    /// The version of the questions' wording.
    prompt_format_version: u32,
    /// The answers with their probabilities: an object by the ids of the questions, or a list in their order.
    answers: Value,
    /// Token counts.
    usage: DecisionsUsage,
}

impl QuestionBody {
    /// The names of the possible answers, and the texts by which they are shown.
    fn answers(&self, path: &str) -> Result<Answers, ApiError> {
        let described = |name: &str, description: Option<&String>| match description {
            Some(description) => format!("{name}: {description}"),
            None => name.to_owned(),
        };
        let (names, option_texts): (Vec<String>, Vec<String>) = match self.kind {
            QuestionKind::YesNo | QuestionKind::Predicate => {
                [("yes", self.yes.as_ref()), ("no", self.no.as_ref())]
                    .map(|(name, description)| (name.to_owned(), described(name, description)))
                    .into_iter()
                    .unzip()
            }
            QuestionKind::Choice => (self.options.iter())
                .map(|option| match option {
                    OptionBody::Name(name) => (name.clone(), name.clone()),
                    OptionBody::Described { name, description } => {
                        (name.clone(), described(name, description.as_ref()))
                    }
                })
                .unzip(),
            QuestionKind::Score if self.levels.len() > MAX_LEVELS => {
                let path = format!("{path}.levels");
                let message =
                    format!("A score has from 2 to {MAX_LEVELS} levels, not {}.", self.levels.len());
                return Err(ApiError::invalid(path, message));
            }
            QuestionKind::Score => {
                let levels = self.levels.iter().enumerate();
                levels.map(|(level, meaning)| (level.to_string(), meaning.clone())).unzip()
            }
        };
        Answers { names, option_texts }.checked(path)
    }

    /// The answer in SGLang's form.
    fn in_object(&self, names: &[String], probabilities: &AnswerProbabilities) -> Value {
        let mut answer = json!({
            "type": self.kind,
            "probabilities": probabilities.by_name(names),
            "label_mass": probabilities.label_mass,
        });
        match self.kind {
            QuestionKind::Score => answer["score"] = json!(probabilities.mean_index()),
            QuestionKind::Choice | QuestionKind::YesNo | QuestionKind::Predicate => {
                answer["choice"] = json!(names[probabilities.best()]);
            }
        }
        answer
    }

    /// The answer in vLLM's form.
    fn in_list(&self, names: &[String], probabilities: &AnswerProbabilities) -> Value {
        let AnswerProbabilities { probabilities: by_index, label_mass, .. } = probabilities;
        let best = probabilities.best();
        let value = |(index, name): (usize, &String)| match self.kind {
            QuestionKind::Choice => json!(name),
            QuestionKind::Score => json!(index),
            // The value of yes, which is first, is 1.
            QuestionKind::YesNo | QuestionKind::Predicate => json!(usize::from(index == 0)),
        };
        let answers = names.iter().zip(by_index).enumerate();
        let answers: Vec<Value> = answers
            .map(|(index, (name, probability))| {
                json!({ "value": value((index, name)), "label": name, "probability": probability })
            })
            .collect();
        let mut answer = json!({
            "type": self.kind,
            "name": self.name.as_ref().or(self.id.as_ref()),
            "probabilities": answers,
            "confidence": by_index[best] * label_mass,
            "label_mass": label_mass,
        });
        match self.kind {
            QuestionKind::Score => answer["score"] = json!(probabilities.mean_index()),
            QuestionKind::Choice => answer["choice"] = json!(names[best]),
            QuestionKind::YesNo | QuestionKind::Predicate => answer["score"] = json!(by_index[0]),
        }
        answer
    }
}

/// Decide questions about a text and images. No text is generated: answers are read from the critic's logits.
#[utoipa::path(
    post,
    path = "/v1/decisions",
    tag = "scoring",
    request_body(content = DecisionsBody, example = json!(examples::decisions())),
    responses(
        (status = 200, description = "`answers`, as an object by the questions' ids or as a list.", body = DecisionsResponse, example = json!(examples::decisions_answer())),
        (status = 400, description = "A question is invalid.", body = ErrorBody),
        Failures
    )
)]
pub(super) async fn decide(scorer: Scorer, body: JsonBytes) -> Result<Json<DecisionsResponse>, ApiError> {
    let read = scorer.read(body, |body, reader| {
        let mut read: DecisionsBody = body.parse()?;
        check_names(body)?;
        let images = ImageUrl::read_all(std::mem::take(&mut read.images), reader)?;
        Ok((read, images))
    });
    let ((mut body, images), _memory) = read.await?;
    let model = scorer.response_model(body.model.take())?;
    let temperature = choices::temperature(body.temperature)?;
    if let Some(other) = body.prompt_format_version.filter(|version| *version != PROMPT_FORMAT_VERSION) {
        let message = format!("This server words questions by version {PROMPT_FORMAT_VERSION}, not {other}.");
        return Err(ApiError::invalid("prompt_format_version", message));
    }
    check_ids(&body.questions)?;
    let context: Arc<str> = text_of(body.input).into();
    let (mut questions, mut names) = (Vec::new(), Vec::new());
    for (index, question) in body.questions.iter().enumerate() {
        let path = format!("questions[{index}]");
        let answers = question.answers(&path)?;
        let text = question_text(&question.question, &answers.option_texts);
        let context = Arc::clone(&context);
        questions.push(Question { context, text, option_count: answers.names.len(), path });
        names.push(answers.names);
    }
    let probabilities = Chooser { scorer: &scorer, images, temperature }.answer_all(questions).await?;
    let answers = answers(&body.questions, &names, &probabilities);
    Ok(Json(DecisionsResponse {
        object: "decisions",
        model,
        prompt_format_version: PROMPT_FORMAT_VERSION,
        answers,
        usage: DecisionsUsage::of(probabilities.iter().map(|probabilities| probabilities.usage)),
    }))
}

/// The answers to questions whose possible answers have these names: an object by the ids of the questions if all have
/// one, else a list.
fn answers(
    questions: &[QuestionBody],
    names: &[Vec<String>],
    probabilities: &[AnswerProbabilities],
) -> Value {
    let all = || questions.iter().zip(names).zip(probabilities);
    let by_id = all().map(|((question, names), probabilities)| {
        Some((question.id.clone()?, question.in_object(names, probabilities)))
    });
    match by_id.collect::<Option<Map<String, Value>>>() {
        Some(by_id) => Value::Object(by_id),
        None => {
            all().map(|((question, names), probabilities)| question.in_list(names, probabilities)).collect()
        }
    }
}

/// Refuses unsupported members of the body and of its questions.
fn check_names(body: &JsonBytes) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Questions {
        questions: Vec<Members>,
    }
    parameters::check(body, &KNOWN_MEMBERS)?;
    let Questions { questions } = body.parse()?;
    let mut questions = questions.iter().enumerate();
    questions.try_for_each(|(index, question)| {
        parameters::check_members(question, &KNOWN_MEMBERS_OF_QUESTION, &format!("questions[{index}]."))
    })
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
    let message = format!("There are two questions {}, and answers are told by these names.", quoted(id));
    Err(ApiError::invalid(format!("questions[{index}].id"), message))
}
