//! slime's remote reward model: one sample in, a bare number out.

use axum::Json;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    examples,
    failures::Failures,
    sample::{Sample, TextOrParts},
    scorer::{ScoreQuery, Scorer},
    transcript::Transcript,
};
use crate::{
    dialects::content::Content,
    error::{ApiError, ErrorBody},
    images::ImageReader,
    json_body::JsonBytes,
};

/// A prompt and its answer.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RemoteRmBody {
    /// What was asked: text in a chat format or plain, or messages.
    prompt: PromptBody,
    /// The answer.
    response: String,
    /// What rides with it: an object or JSON text with `image` or `images`, `question` and `reference`, or a plain reference.
    #[serde(default)]
    label: Value,
}

/// A prompt: text in a chat format or plain, or messages.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = RemotePrompt)]
enum PromptBody {
    /// Text.
    Text(String),
    /// Messages, of which the last one is the user's.
    Messages(Vec<PromptMessage>),
}

/// A turn of a prompt.
#[derive(Debug, Deserialize, ToSchema)]
struct PromptMessage {
    /// Whose it is.
    role: String,
    /// What is said and shown.
    content: Content,
}

/// Score one sample, as slime asks: the answer is the reward itself, a number.
#[utoipa::path(
    post,
    path = "/rm",
    tag = "scoring",
    params(ScoreQuery),
    request_body(content = RemoteRmBody, example = json!(examples::remote_rm())),
    responses(
        (status = 200, description = "The reward.", body = f64, content_type = "application/json", example = json!(examples::remote_rm_answer())),
        (status = 400, description = "The sample makes no sense.", body = ErrorBody),
        Failures
    )
)]
pub(super) async fn remote_rm(scorer: Scorer, body: JsonBytes) -> Result<Json<f64>, ApiError> {
    let sample = scorer.with_images(|reader| sample(body.parse()?, reader)).await?;
    let scored = scorer.score(vec![sample], |_| "response".into()).await?;
    Ok(Json(scored[0].reward))
}

fn sample(body: RemoteRmBody, reader: &ImageReader<'_>) -> Result<Sample, ApiError> {
    let RemoteRmBody { prompt, response, label } = body;
    let sample = match prompt {
        PromptBody::Text(prompt) => {
            Sample::of_transcript((&(prompt.clone() + &response), Some(&prompt)), "prompt", reader)?
        }
        PromptBody::Messages(messages) => of_messages(messages, response, reader)?,
    };
    sample.with_label(Some(label), "label", reader)
}

/// The turns as one question.
fn of_messages(
    messages: Vec<PromptMessage>,
    response: String,
    reader: &ImageReader<'_>,
) -> Result<Sample, ApiError> {
    let (mut turns, mut images) = (Vec::new(), Vec::new());
    for (index, PromptMessage { role, content }) in messages.into_iter().enumerate() {
        let parts = TextOrParts::Parts { content };
        let (text, mut found) = parts.read(&format!("prompt[{index}].content"), reader)?;
        images.append(&mut found);
        turns.push((role, text));
    }
    let question = Transcript::question_of(&turns)
        .ok_or_else(|| ApiError::invalid("prompt", "prompt has no turn of the user."))?;
    Sample::of_turns((question, images), response, ("prompt", reader))
}
