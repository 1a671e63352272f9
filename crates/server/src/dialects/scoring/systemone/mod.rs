//! `POST /v1/systemone` of vLLM and SGLang: questions about a state and images.

mod examples;
mod request;

use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    bodies::DecisionsUsage,
    choices::{Answered, Chooser},
    scorer::Scorer,
};
use crate::{
    dialects::content,
    error::{ApiError, ErrorBody, ScoringErrors},
    extract::json_body::JsonBytes,
    json::body_form::{BodyForm, ImageMembers, TextKind},
    process::clock::unix_seconds,
    request::id,
    service::state::AppState,
};
use request::{Asked, SystemOneBody, SystemOneKind, SystemOneRequest};

/// How the bodies are read: what is not in `images` is text, whatever its members are called.
const BODY_FORM: BodyForm = BodyForm {
    texts: TextKind::Plain,
    images: ImageMembers::Inside { member: "images", names: &[content::IMAGE_MEMBERS] },
    questions: &[],
};

/// The route of this module.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(answer)).layer(Extension(BODY_FORM))
}

/// The answers to all questions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SystemOneResponse {
    /// A unique id of the response.
    id: String,
    /// Always `structured_decision`.
    object: &'static str,
    /// When it was created, in seconds since 1970.
    created: u64,
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
    usage: DecisionsUsage,
}

/// Answer questions about a state and images. No text is generated: answers are read from the critic's logits.
#[utoipa::path(
    post,
    path = "/v1/systemone",
    tag = "scoring",
    request_body(content = SystemOneBody, example = json!(examples::systemone())),
    responses(
        (
            status = 200,
            description = "`answers` and `diagnostics`, by the questions' names.",
            body = SystemOneResponse,
            example = json!(examples::systemone_answer())
        ),
        (status = 400, description = "A question is invalid.", body = ErrorBody),
        ScoringErrors
    )
)]
pub(super) async fn answer(scorer: Scorer, body: JsonBytes) -> Result<Json<SystemOneResponse>, ApiError> {
    let read = scorer.read(body, SystemOneRequest::read);
    let (SystemOneRequest { model, subject, questions }, _memory) = read.await?;
    let model = scorer.response_model(model)?;
    let (asked, questions): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
    let answered = Chooser { scorer: &scorer, temperature: 1.0 }.ask(&subject, questions).await?;
    let usage = DecisionsUsage::of(answered.iter().map(|answered| answered.probabilities.usage));
    let (mut answers, mut diagnostics) = (Map::new(), Map::new());
    for (asked, answered) in asked.into_iter().zip(&answered) {
        diagnostics.insert(asked.name.clone(), diagnosis(answered));
        let (name, answer) = answer_to(asked, answered);
        answers.insert(name, answer);
    }
    Ok(Json(SystemOneResponse {
        id: format!("decision-{}", id::fresh_id()),
        object: "structured_decision",
        created: unix_seconds(),
        model,
        answers,
        diagnostics,
        usage,
    }))
}

/// The name of a question and its answer in vLLM's form, with SGLang's `x_label_mass`.
fn answer_to(asked: Asked, answered: &Answered) -> (String, Value) {
    let probabilities = &answered.probabilities;
    let mut answer = json!({
        "type": asked.kind,
        "probabilities": answered.by_name(),
        "confidence": probabilities.confidence(),
        "x_label_mass": probabilities.label_mass,
    });
    match asked.kind {
        SystemOneKind::Noul => answer["noul"] = json!(probabilities.probabilities[0]),
        SystemOneKind::Predicate => {
            answer["value"] = json!(probabilities.best() == 0);
            answer["probability"] = json!(probabilities.probabilities[0]);
        }
        SystemOneKind::Choice => answer["choice"] = json!(answered.best_name()),
        SystemOneKind::Score => {
            answer["score"] = json!(probabilities.mean_index());
            let names = answered.options.iter().map(|option| option.name.clone());
            answer["legend"] = Value::Object(names.zip(asked.levels).collect());
        }
    }
    (asked.name, answer)
}

/// Figures about the reliability of an answer.
fn diagnosis(answered: &Answered) -> Value {
    let probabilities = &answered.probabilities;
    // Only the answers' probabilities are known, so this is a lower bound: a best answer below it may still be the
    // most probable text.
    let is_label = probabilities.confidence() >= 1.0 - probabilities.label_mass;
    json!({ "label_mass": probabilities.label_mass, "argmax_is_label": is_label })
}
