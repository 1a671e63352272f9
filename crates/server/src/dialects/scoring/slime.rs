//! slime's remote reward model: one sample in, a bare number out.

use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    examples,
    failures::Failures,
    sample::Sample,
    scorer::{ScoreQuery, Scorer},
    text_or_parts::TextOrParts,
    trainers::RewardForm,
    transcript::Transcript,
};
use crate::{
    dialects::content::Content,
    error::{ApiError, ErrorBody},
    images::ImageReader,
    json_body::JsonBytes,
    json_object::only_from_objects,
};

/// A prompt and its answer.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RemoteRmBody {
    /// The question: plain text, text in a chat format, or messages.
    prompt: PromptBody,
    /// The answer to score.
    response: String,
    /// An object, also as JSON in a string, with `image` or `images`, `question` and `reference`; or a plain
    /// reference as a string or number.
    #[serde(default)]
    label: Value,
}

/// A prompt: plain text, text in a chat format, or messages.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = RemotePrompt)]
pub(super) enum PromptBody {
    /// Text.
    Text(String),
    /// Messages, at least one of which is the user's.
    Messages(Vec<PromptMessage>),
}

/// A message of a prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub(super) struct PromptMessage {
    /// `system`, `user` or `assistant`; other roles count as `system`.
    role: String,
    /// Text and images.
    content: Content,
}

only_from_objects!(PromptMessage);

impl PromptBody {
    /// The prompt of this transcript. A text that the transcript does not contain may be messages as JSON, since trainers
    /// of multimodal models keep them so in their data.
    pub(super) fn of(self, transcript: &str) -> Self {
        match self {
            Self::Text(text) if text.trim_start().starts_with('[') && !transcript.contains(text.as_str()) => {
                match serde_json::from_str::<Vec<PromptMessage>>(&text) {
                    Ok(messages) if !messages.is_empty() => Self::Messages(messages),
                    Ok(_) | Err(_) => Self::Text(text),
                }
            }
            given => given,
        }
    }
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
        Failures
    )
)]
pub(super) async fn remote_rm(scorer: Scorer, body: JsonBytes) -> Result<Response, ApiError> {
    RewardForm::of(&body, RewardForm::Slime).answer(&scorer, body).await
}

/// The reward of a body in this form.
pub(super) async fn reward(scorer: &Scorer, body: JsonBytes) -> Result<f64, ApiError> {
    let (sample, _memory) = scorer.read(body, |body, reader| sample(body.parse()?, reader)).await?;
    let scored = scorer.score(vec![sample], |_| "response".into()).await?;
    Ok(scored[0].reward)
}

/// The sample of a body.
fn sample(body: RemoteRmBody, reader: &ImageReader<'_>) -> Result<Sample, ApiError> {
    let RemoteRmBody { prompt, response, label } = body;
    let sample = match prompt {
        PromptBody::Text(prompt) => {
            Sample::of_transcript(&(prompt.clone() + &response), Some(&prompt), "prompt", reader)?
        }
        PromptBody::Messages(messages) => of_messages(messages, response, "prompt", reader)?,
    };
    sample.with_label(Some(label), "label", reader)
}

/// Makes one question of the messages at `path`.
pub(super) fn of_messages(
    messages: Vec<PromptMessage>,
    response: String,
    path: &str,
    reader: &ImageReader<'_>,
) -> Result<Sample, ApiError> {
    let (mut turns, mut images) = (Vec::new(), Vec::new());
    for (index, PromptMessage { role, content }) in messages.into_iter().enumerate() {
        let parts = TextOrParts::Parts { content };
        let (text, turn_images) = parts.read(&format!("{path}[{index}].content"), reader)?;
        images.extend(turn_images);
        turns.push((role, text));
    }
    let question = Transcript::question_of(&turns)
        .ok_or_else(|| ApiError::invalid(path, format!("{path} has no turn of the user.")))?;
    Sample::of_turns(&question, images, response, path, reader)
}
