//! slime's remote reward model: one sample in, a bare number out.

use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    bodies::parse_rewarded,
    examples,
    messages::{self, PromptBody},
    sample::Sample,
    scorer::{ScoreQuery, Scorer},
    trainers::RewardForm,
};
use crate::{
    error::{ApiError, ErrorBody, ScoringErrors},
    extract::json_body::JsonBytes,
    images::ImageReader,
    json::limits::JsonLimits,
};

/// A prompt and its answer.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RemoteRmBody {
    /// The question: plain text, text in a chat format, or messages, also as JSON in a string.
    prompt: PromptBody,
    /// The answer to score.
    response: String,
    /// An object, also as JSON in a string, with `image` or `images`, `question` and `reference`; or a plain
    /// reference: a text, a number, `true` or `false`, or a list, which is read as its JSON text.
    #[serde(default)]
    label: Value,
}

/// Score one sample, in slime's interface: the answer is the reward itself, a number.
///
/// A body with `query` instead of `prompt` and `response` is answered as at `/get_reward`.
#[utoipa::path(
    post,
    path = "/rm",
    tag = "scoring",
    params(ScoreQuery),
    request_body(content = RemoteRmBody, example = json!(examples::remote_rm())),
    responses(
        (status = 200, description = "The reward.", body = f64, content_type = "application/json", example = json!(examples::remote_rm_answer())),
        (status = 400, description = "The sample is invalid.", body = ErrorBody),
        ScoringErrors
    )
)]
pub(super) async fn remote_rm(scorer: Scorer, body: JsonBytes) -> Result<Response, ApiError> {
    RewardForm::of(&body, RewardForm::Slime).answer(&scorer, body).await
}

/// The reward of a body in this form.
pub(super) async fn reward(scorer: &Scorer, body: JsonBytes) -> Result<f64, ApiError> {
    let read = scorer.read(body, |body, reader| sample(parse_rewarded(body)?, scorer.limits(), reader));
    let (sample, _memory) = read.await?;
    let scored = scorer.score(vec![sample], |_| "response".into()).await?;
    Ok(scored[0].reward)
}

/// The sample of a body.
fn sample(body: RemoteRmBody, limits: &JsonLimits, reader: &ImageReader<'_>) -> Result<Sample, ApiError> {
    let RemoteRmBody { prompt, response, label } = body;
    match prompt.parsed(limits, "prompt")? {
        PromptBody::Text(prompt) => {
            let transcript = prompt.clone() + &response;
            let sample = Sample::of_transcript(&transcript, Some(&prompt), "prompt", reader)?;
            sample.with_label(Some(label), "label", reader)
        }
        PromptBody::Messages(turns) => {
            messages::labelled_sample_of(turns, response, "prompt", (Some(label), "label"), reader)
        }
    }
}
