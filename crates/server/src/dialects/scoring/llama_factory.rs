//! LLaMA-Factory's reward server: conversations in a chat format in, scores out.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    bodies::parse_rewarded,
    examples,
    sample::Sample,
    scorer::{ScoreQuery, Scorer},
};
use crate::{
    error::{ApiError, ErrorBody, ScoringErrors},
    extract::json_body::JsonBytes,
    request::id,
};

/// Conversations to score.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct EvaluationBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// Whole conversations in a chat format, with images as data URLs in the text.
    messages: Vec<String>,
}

/// Scores in the order of the conversations.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EvaluationResponse {
    /// A unique id of the response.
    id: String,
    /// Always `score.evaluation`.
    object: &'static str,
    /// The model's name in the request, or that of the checkpoint.
    model: String,
    /// The rewards in the order of the conversations.
    scores: Vec<f64>,
}

/// Score conversations, in LLaMA-Factory's interface.
#[utoipa::path(
    post,
    path = "/v1/score/evaluation",
    tag = "scoring",
    params(ScoreQuery),
    request_body(content = EvaluationBody, example = json!(examples::evaluation())),
    responses(
        (status = 200, description = "The rewards, in order.", body = EvaluationResponse, example = json!(examples::evaluation_answer())),
        (status = 400, description = "A conversation is invalid.", body = ErrorBody),
        ScoringErrors
    )
)]
pub(super) async fn evaluate(scorer: Scorer, body: JsonBytes) -> Result<Json<EvaluationResponse>, ApiError> {
    let path = |index: usize| format!("messages[{index}]");
    let read = scorer.read(body, |body, reader| {
        let EvaluationBody { model, messages } = parse_rewarded(body)?;
        let model = scorer.response_model(model)?;
        let samples = messages.iter().enumerate();
        let samples = samples.map(|(index, text)| Sample::of_transcript(text, None, &path(index), reader));
        Ok((model, samples.collect::<Result<Vec<_>, _>>()?))
    });
    let ((model, samples), _memory) = read.await?;
    let scored = scorer.score(samples, path).await?;
    Ok(Json(EvaluationResponse {
        id: format!("scoreval-{}", id::fresh_id()),
        object: "score.evaluation",
        model,
        scores: scored.iter().map(|scored| scored.reward).collect(),
    }))
}
