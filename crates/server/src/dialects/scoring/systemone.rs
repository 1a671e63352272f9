//! `POST /v1/systemone` of vLLM: predicates about a state and images.

use std::{collections::BTreeMap, sync::Arc};

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{
    bodies::TokensRead,
    choices::{AnswerProbabilities, Answers, Chooser, Question, question_text, text_of},
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
    error::{ApiError, ErrorBody},
    json_body::JsonBytes,
    json_object::only_from_objects,
};

/// The members that are read of a body.
const KNOWN_MEMBERS: [&str; 5] = ["model", "state", "questions", "instructions", "images"];

/// The members that are read of a question.
const KNOWN_MEMBERS_OF_QUESTION: [&str; 3] = ["type", "instructions", "criteria"];

/// A state, and questions about it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SystemOneBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// The subject of the questions: text or other JSON.
    state: Value,
    /// The questions by name.
    questions: BTreeMap<String, SystemOneQuestion>,
    /// Instructions for all questions.
    instructions: Option<String>,
    /// Images that belong to the state.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    images: Vec<ImageUrl>,
}

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self")]
struct SystemOneQuestion {
    /// The type of the question.
    #[serde(rename = "type")]
    kind: PredicateKind,
    /// The text of the question.
    instructions: String,
    /// For a predicate, optionally a text that says when the answer is yes, or an object of names and meanings, the
    /// first of which counts as true. For the other types, the possible answers: an object of names and meanings,
    /// or a list.
    #[serde(default)]
    criteria: Value,
}

only_from_objects!(SystemOneQuestion);

/// The type of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PredicateKind {
    /// Whether a statement holds.
    Predicate,
    /// One of several answers.
    Choice,
    /// A level of several.
    Score,
}

/// The answers to all questions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SystemOneResponse {
    /// The model's name in the request, or that of the checkpoint.
    model: String,
    /// The answers with their probabilities, by the names of the questions.
    #[schema(value_type = Object)]
    answers: Map<String, Value>,
    /// By the names of the questions: `label_mass`, the probability mass of all possible answers together, and
    /// `argmax_is_label`, whether the best answer is at least as probable as all other texts together.
    #[schema(value_type = Object)]
    diagnostics: Map<String, Value>,
    /// Token counts.
    usage: TokensRead,
}

impl SystemOneQuestion {
    /// The names of the possible answers, and the texts by which they are shown.
    fn answers(&self, path: &str) -> Result<Answers, ApiError> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let yes_no = |yes: String| (vec!["yes".into(), "no".into()], vec![yes, "no".into()]);
        let (names, option_texts): (Vec<String>, Vec<String>) = match (self.kind, &self.criteria) {
            (PredicateKind::Predicate, Value::Null) => yes_no("yes".into()),
            (PredicateKind::Predicate, Value::String(criteria)) => yes_no(format!("yes: {criteria}")),
            (
                PredicateKind::Predicate | PredicateKind::Choice | PredicateKind::Score,
                Value::Object(named),
            ) => {
                let named = named.iter();
                named.map(|(name, meaning)| (name.clone(), format!("{name}: {}", text(meaning)))).unzip()
            }
            (PredicateKind::Choice | PredicateKind::Score, Value::Array(listed)) => {
                listed.iter().map(|answer| (text(answer), text(answer))).unzip()
            }
            (PredicateKind::Predicate | PredicateKind::Choice | PredicateKind::Score, _) => {
                let message = "criteria must tell the answers.";
                return Err(ApiError::invalid(format!("{path}.criteria"), message));
            }
        };
        Answers { names, option_texts }.checked(&format!("{path}.criteria"))
    }

    /// The answer, from the probabilities of the possible answers.
    fn answer(&self, names: &[String], probabilities: &AnswerProbabilities) -> Value {
        let (best, by_name) = (probabilities.best(), probabilities.by_name(names));
        match self.kind {
            PredicateKind::Score => {
                json!({ "type": "score", "score": probabilities.mean_index(), "probabilities": by_name })
            }
            PredicateKind::Choice => {
                json!({ "type": "choice", "choice": names[best], "probabilities": by_name })
            }
            PredicateKind::Predicate => json!({
                "type": "predicate",
                "value": best == 0,
                "probability": probabilities.probabilities[0],
                "probabilities": by_name,
            }),
        }
    }
}

/// Figures about the reliability of an answer.
fn diagnosis(answers: &AnswerProbabilities) -> Value {
    // Only the answers' probabilities are known, so this is a lower bound: a best answer below it may still be the
    // most probable text.
    let is_label = answers.probabilities[answers.best()] * answers.label_mass >= 1.0 - answers.label_mass;
    json!({ "label_mass": answers.label_mass, "argmax_is_label": is_label })
}

/// Answer questions about a state and images. No text is generated: answers are read from the critic's logits.
#[utoipa::path(
    post,
    path = "/v1/systemone",
    tag = "scoring",
    request_body(content = SystemOneBody, example = json!(examples::systemone())),
    responses(
        (status = 200, description = "`answers` and `diagnostics`, by the questions' names.", body = SystemOneResponse, example = json!(examples::systemone_answer())),
        (status = 400, description = "A question is invalid.", body = ErrorBody),
        Failures
    )
)]
pub(super) async fn answer(scorer: Scorer, body: JsonBytes) -> Result<Json<SystemOneResponse>, ApiError> {
    let read = scorer.read(body, |body, reader| {
        let mut read: SystemOneBody = body.parse()?;
        check_names(body)?;
        let images = ImageUrl::read_all(std::mem::take(&mut read.images), reader)?;
        Ok((read, images))
    });
    let ((mut body, images), _memory) = read.await?;
    let model = scorer.response_model(body.model.take())?;
    let state = text_of(body.state);
    let context: Arc<str> = match body.instructions {
        Some(instructions) => format!("{state}\n\n{instructions}").into(),
        None => state.into(),
    };
    let (mut questions, mut names) = (Vec::new(), Vec::new());
    for (name, question) in &body.questions {
        let path = format!("questions.{name}");
        let answers = question.answers(&path)?;
        let text = question_text(&question.instructions, &answers.option_texts);
        let context = Arc::clone(&context);
        questions.push(Question { context, text, option_count: answers.names.len(), path });
        names.push(answers.names);
    }
    let chooser = Chooser { scorer: &scorer, images, temperature: 1.0 };
    let probabilities = chooser.answer_all(questions).await?;
    let (mut answers, mut diagnostics) = (Map::new(), Map::new());
    for (((name, question), names), probabilities) in body.questions.iter().zip(&names).zip(&probabilities) {
        answers.insert(name.clone(), question.answer(names, probabilities));
        diagnostics.insert(name.clone(), diagnosis(probabilities));
    }
    let usage = TokensRead::of(probabilities.iter().map(|probabilities| probabilities.usage));
    Ok(Json(SystemOneResponse { model, answers, diagnostics, usage }))
}

/// Refuses unsupported members of the body and of its questions.
fn check_names(body: &JsonBytes) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Questions {
        questions: BTreeMap<String, Members>,
    }
    parameters::check(body, &KNOWN_MEMBERS)?;
    let Questions { questions } = body.parse()?;
    questions.iter().try_for_each(|(name, question)| {
        parameters::check_members(question, &KNOWN_MEMBERS_OF_QUESTION, &format!("questions.{name}."))
    })
}
