//! FastDeploy's reward route: a conversation with images whose last message is the answer to score.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    bodies::{ScoreUsage, parse_rewarded},
    examples,
    messages::{self, Turn},
    sample::Sample,
    scorer::{SampleScore, ScoreQuery, Scorer},
};
use crate::{
    error::{ApiError, ErrorBody, ScoringErrors},
    extract::json_body::JsonBytes,
    images::ImageReader,
    process::clock::unix_seconds,
    request::id,
};

/// A conversation to score.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ChatRewardBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// The messages, the last of which is the assistant's answer. At least one must be the user's.
    messages: Vec<Turn>,
}

/// The reward of the answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChatRewardResponse {
    /// A unique id of the response.
    id: String,
    /// Always `chat.reward`.
    object: &'static str,
    /// When it was created, in seconds since 1970.
    created: u64,
    /// The model's name in the request, or that of the checkpoint.
    model: String,
    /// A list with the reward.
    data: Vec<ChatReward>,
    /// Token counts.
    usage: ScoreUsage,
}

/// A reward.
#[derive(Debug, Serialize, ToSchema)]
struct ChatReward {
    /// Always 0.
    index: usize,
    /// Always `reward`.
    object: &'static str,
    /// A list with the reward.
    score: [f64; 1],
}

/// Makes a sample of the last message and the question before it.
pub(super) fn sample(mut turns: Vec<Turn>, reader: &ImageReader<'_>) -> Result<Sample, ApiError> {
    let Some(last) = turns.pop_if(|turn| turn.is_answer()) else {
        return Err(ApiError::invalid("messages", "The last message must be the assistant's answer."));
    };
    let response = last.into_answer("messages", reader)?;
    messages::sample_of(turns, response, "messages", reader)
}

/// Score the last message of a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/reward",
    operation_id = "chat_reward",
    tag = "scoring",
    params(ScoreQuery),
    request_body(content = ChatRewardBody, example = json!(examples::chat_reward())),
    responses(
        (status = 200, description = "The reward.", body = ChatRewardResponse, example = json!(examples::chat_reward_answer())),
        (status = 400, description = "The conversation is invalid.", body = ErrorBody),
        ScoringErrors
    )
)]
pub(super) async fn reward(scorer: Scorer, body: JsonBytes) -> Result<Json<ChatRewardResponse>, ApiError> {
    let read = scorer.read(body, |body, reader| {
        let ChatRewardBody { model, messages } = parse_rewarded(body)?;
        Ok((model, sample(messages, reader)?))
    });
    let ((model, sample), _memory) = read.await?;
    let model = scorer.response_model(model)?;
    let scored = scorer.score(vec![sample], |_| "messages".into()).await?;
    let reward = |(index, scored): (usize, &SampleScore)| ChatReward {
        index,
        object: "reward",
        score: [scored.reward],
    };
    Ok(Json(ChatRewardResponse {
        id: format!("chatreward-{}", id::fresh_id()),
        object: "chat.reward",
        created: unix_seconds(),
        model,
        usage: ScoreUsage::of(&scored),
        data: scored.iter().enumerate().map(reward).collect(),
    }))
}
