//! OpenRLHF's remote reward model: transcripts in, rewards out.

use axum::response::Response;
use serde::{Deserialize, Serialize};
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
    dialects::one_or_many::OneOrMany,
    error::{ApiError, ErrorBody, ScoringErrors},
    extract::json_body::JsonBytes,
    images::ImageReader,
    json::limits::JsonLimits,
};

/// Transcripts to score.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct GetRewardBody {
    /// Whole transcripts, prompt and answer, with their control tokens as text.
    query: OneOrMany<String>,
    /// The prompts of the transcripts, if known: the answer is what follows the prompt. One for each transcript, or
    /// null. If a prompt is a list of messages, also as JSON in a string, the question and its images are theirs, and
    /// only the answer is read from the transcript.
    prompts: Option<OneOrMany<Option<PromptBody>>>,
    /// One label for each transcript: an object, also as JSON in a string, with `image` or `images`, `question` and
    /// `reference`; or a plain reference: a text, a number, `true` or `false`, or a list, which is read as its JSON
    /// text.
    #[schema(value_type = Option<Vec<Value>>)]
    labels: Option<OneOrMany<Value>>,
}

/// Rewards in the order of the transcripts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GetRewardResponse {
    /// The rewards on the requested scale.
    rewards: Vec<f64>,
    /// The scores from 0 (worst) to 1 (best).
    scores: Vec<f64>,
    /// Figures for the trainer's log.
    extra_logs: ExtraLogs,
}

/// Figures for the trainer's log, which accepts numbers only.
#[derive(Debug, Serialize, ToSchema)]
struct ExtraLogs {
    /// The mean of the rubric's scores weighted by their probabilities.
    expected_score: Vec<f64>,
    /// The probability mass of all possible scores together.
    label_mass: Vec<f64>,
    /// The entropy of the scores' probabilities, in nats; 0 if one score is certain.
    entropy: Vec<f64>,
}

/// Score transcripts, in OpenRLHF's interface.
///
/// A transcript is split into turns by its chat format, or where its prompt ends. Images are data URLs in the
/// prompt or in the label, or registered images that these name. If a transcript cannot be scored, the request
/// fails and the error names it: only a real score is returned as one. A body with `prompt` and `response` instead
/// of `query` is answered as at `/rm`.
#[utoipa::path(
    post,
    path = "/get_reward",
    tag = "scoring",
    params(ScoreQuery),
    request_body(content = GetRewardBody, example = json!(examples::get_reward())),
    responses(
        (status = 200, description = "The rewards, in order.", body = GetRewardResponse, example = json!(examples::get_reward_answer())),
        (status = 400, description = "A transcript or a label is invalid.", body = ErrorBody),
        ScoringErrors
    )
)]
pub(super) async fn get_reward(scorer: Scorer, body: JsonBytes) -> Result<Response, ApiError> {
    RewardForm::of(&body, RewardForm::OpenRlhf).answer(&scorer, body).await
}

/// The rewards of a body in this form.
pub(super) async fn rewards(scorer: &Scorer, body: JsonBytes) -> Result<GetRewardResponse, ApiError> {
    let read = scorer.read(body, |body, reader| samples(parse_rewarded(body)?, scorer.limits(), reader));
    let (samples, _memory) = read.await?;
    let scored = scorer.score(samples, |index| format!("query[{index}]")).await?;
    Ok(GetRewardResponse {
        rewards: scored.iter().map(|scored| scored.reward).collect(),
        scores: scored.iter().map(|scored| scored.unit).collect(),
        extra_logs: ExtraLogs {
            expected_score: scored.iter().map(|scored| scored.expected).collect(),
            label_mass: scored.iter().map(|scored| scored.label_mass).collect(),
            entropy: scored.iter().map(|scored| scored.entropy).collect(),
        },
    })
}

/// The samples of a body, one for each transcript.
fn samples(
    body: GetRewardBody,
    limits: &JsonLimits,
    reader: &ImageReader<'_>,
) -> Result<Vec<Sample>, ApiError> {
    let queries = body.query.into_vec();
    let prompts = aligned("prompts", body.prompts, queries.len())?;
    let labels = aligned("labels", body.labels, queries.len())?;
    let samples = queries.iter().zip(prompts).zip(labels).enumerate();
    let samples = samples.map(|(index, ((query, prompt), label))| {
        let (path, label_path) = (format!("query[{index}]"), format!("labels[{index}]"));
        let prompt_path = format!("prompts[{index}]");
        let prompt = prompt.flatten().map(|prompt| prompt.of(query, limits, &prompt_path)).transpose()?;
        let sample = match prompt {
            Some(PromptBody::Messages(turns)) => {
                let answer = Sample::answer_of_transcript(query, &path)?;
                let label = (label, &*label_path);
                return messages::labelled_sample_of(turns, answer, &prompt_path, label, reader);
            }
            Some(PromptBody::Text(prompt)) => Sample::of_transcript(query, Some(&prompt), &path, reader)?,
            None => Sample::of_transcript(query, None, &path, reader)?,
        };
        sample.with_label(label, &label_path, reader)
    });
    samples.collect()
}

/// A value for each transcript, `None` if there are no values.
///
/// # Errors
/// When the number of values is not `count`.
fn aligned<T>(name: &str, values: Option<OneOrMany<T>>, count: usize) -> Result<Vec<Option<T>>, ApiError> {
    let Some(values) = values.map(OneOrMany::into_vec) else { return Ok((0..count).map(|_| None).collect()) };
    if values.len() == count {
        return Ok(values.into_iter().map(Some).collect());
    }
    let message =
        format!("{name} must have a value for each transcript: {count} in all, not {}.", values.len());
    Err(ApiError::invalid(name, message))
}
