//! `POST /v1/decisions`, in the forms of OpenAI, vLLM and SGLang: decisions read from logits.

mod answer;
mod examples;
mod input;
mod options;
mod request;

use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{IMAGE_MEMBERS, bodies::DecisionsUsage, choices::Chooser, scorer::Scorer};
use crate::{
    dialects::content,
    error::{ApiError, ErrorBody, ScoringErrors},
    extract::json_body::JsonBytes,
    json::body_form::{BodyForm, ImageMembers, TextKind},
    service::state::AppState,
};
use answer::Answers;
use input::InputReader;
use request::{DecisionsBody, DecisionsRequest, PROMPT_FORMAT_VERSION};

/// How the bodies are read. Other JSON than messages and parts is shown as text, whatever its members are called, so
/// that only the [`DecisionsRequest`] knows which strings are images.
pub(super) const BODY_FORM: BodyForm = BodyForm {
    texts: TextKind::Plain,
    images: ImageMembers::Undecided(&[IMAGE_MEMBERS, content::IMAGE_MEMBERS]),
    questions: &[],
};

/// The route of this module.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(decide)).layer(Extension(BODY_FORM))
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
    #[schema(value_type = Value)]
    answers: Answers,
    /// Token counts.
    usage: DecisionsUsage,
}

/// Decide questions about a text and images. No text is generated: answers are read from the critic's logits.
#[utoipa::path(
    post,
    path = "/v1/decisions",
    tag = "scoring",
    request_body(
        content = DecisionsBody,
        examples(
            ("openai" = (value = json!(examples::openai()))),
            ("sglang" = (value = json!(examples::sglang())))
        )
    ),
    responses(
        (
            status = 200,
            description = "`answers`, as an object by the questions' ids or as a list.",
            body = DecisionsResponse,
            examples(
                ("openai" = (value = json!(examples::openai_answer()))),
                ("sglang" = (value = json!(examples::sglang_answer())))
            )
        ),
        (status = 400, description = "A question is invalid.", body = ErrorBody),
        ScoringErrors
    )
)]
pub(super) async fn decide(scorer: Scorer, body: JsonBytes) -> Result<Json<DecisionsResponse>, ApiError> {
    let limits = scorer.limits();
    let read =
        scorer.read(body, |body, images| DecisionsRequest::read(body, &InputReader { images, limits }));
    let (request, _memory) = read.await?;
    let DecisionsRequest { model, temperature, subject, questions } = request;
    let model = scorer.response_model(model)?;
    let (asked, questions): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
    let answered = Chooser { scorer: &scorer, temperature }.ask(&subject, questions).await?;
    Ok(Json(DecisionsResponse {
        object: "decisions",
        model,
        prompt_format_version: PROMPT_FORMAT_VERSION,
        usage: DecisionsUsage::of(answered.iter().map(|answered| answered.probabilities.usage)),
        answers: Answers(asked.into_iter().zip(answered).collect()),
    }))
}
