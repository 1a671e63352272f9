//! OpenRLHF's remote reward: transcripts in, rewards out.

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    examples,
    failures::Failures,
    sample::Sample,
    scorer::{ScoreQuery, Scorer},
};
use crate::{
    error::{ApiError, ErrorBody},
    images::ImageReader,
    json_body::JsonBytes,
};

/// Transcripts to score.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct GetRewardBody {
    /// Whole transcripts, prompt and answer, with their control tokens as text.
    query: OneOrMany<String>,
    /// Their prompts, where they are known: what follows them is the answer.
    prompts: Option<OneOrMany<Option<String>>>,
    /// What rides with them: an object or JSON text with `image` or `images`, `question` and `reference`, or a plain reference.
    #[schema(value_type = Option<Vec<Value>>)]
    labels: Option<OneOrMany<Value>>,
}

/// A value, or a list of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum OneOrMany<T> {
    /// Many.
    Many(Vec<T>),
    /// One.
    One(T),
}

impl<T> OneOrMany<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::Many(values) => values,
            Self::One(value) => vec![value],
        }
    }
}

/// Rewards in the order of the transcripts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GetRewardResponse {
    /// On the scale that was asked for.
    rewards: Vec<f64>,
    /// From 0 to 1.
    scores: Vec<f64>,
    /// Figures for the trainer's log.
    extra_logs: ExtraLogs,
}

/// Figures for a trainer's log, which takes numbers alone.
#[derive(Debug, Serialize, ToSchema)]
struct ExtraLogs {
    /// The means of the rubric's scores by their probabilities.
    expected_score: Vec<f64>,
    /// How much of the critic's belief the possible scores hold together.
    label_mass: Vec<f64>,
    /// How undecided it is, in nats.
    entropy: Vec<f64>,
}

/// Score transcripts, as OpenRLHF asks.
///
/// A transcript is cut into turns by its chat format, or where its prompt ends. Images come as data URLs in the prompt or in the
/// label. A transcript that cannot be scored fails the request by its name: nothing else than a score is told as one.
#[utoipa::path(
    post,
    path = "/get_reward",
    tag = "scoring",
    params(ScoreQuery),
    request_body(content = GetRewardBody, example = json!(examples::get_reward())),
    responses(
        (status = 200, description = "The rewards, in order.", body = GetRewardResponse, example = json!(examples::get_reward_answer())),
        (status = 400, description = "A transcript or a label makes no sense.", body = ErrorBody),
        Failures
    )
)]
pub(super) async fn get_reward(scorer: Scorer, body: JsonBytes) -> Result<Json<GetRewardResponse>, ApiError> {
    let samples = scorer.with_images(|reader| samples(body.parse()?, reader)).await?;
    let scored = scorer.score(samples, |index| format!("query[{index}]")).await?;
    Ok(Json(GetRewardResponse {
        rewards: scored.iter().map(|scored| scored.reward).collect(),
        scores: scored.iter().map(|scored| scored.unit).collect(),
        extra_logs: ExtraLogs {
            expected_score: scored.iter().map(|scored| scored.expected).collect(),
            label_mass: scored.iter().map(|scored| scored.label_mass).collect(),
            entropy: scored.iter().map(|scored| scored.entropy).collect(),
        },
    }))
}

fn samples(body: GetRewardBody, reader: &ImageReader<'_>) -> Result<Vec<Sample>, ApiError> {
    let queries = body.query.into_vec();
    let prompts = aligned("prompts", body.prompts, queries.len())?;
    let labels = aligned("labels", body.labels, queries.len())?;
    let samples = queries.iter().zip(prompts).zip(labels).enumerate();
    let samples = samples.map(|(index, ((query, prompt), label))| {
        let prompt = prompt.flatten();
        Sample::of_transcript((query, prompt.as_deref()), &format!("query[{index}]"), reader)?.with_label(
            label,
            &format!("labels[{index}]"),
            reader,
        )
    });
    samples.collect()
}

/// One value for each transcript, where there are any.
fn aligned<T>(name: &str, values: Option<OneOrMany<T>>, count: usize) -> Result<Vec<Option<T>>, ApiError> {
    let Some(values) = values.map(OneOrMany::into_vec) else { return Ok((0..count).map(|_| None).collect()) };
    if values.len() == count {
        return Ok(values.into_iter().map(Some).collect());
    }
    let message =
        format!("{name} must have a value for each transcript: {count} in all, not {}.", values.len());
    Err(ApiError::invalid(name, message))
}
