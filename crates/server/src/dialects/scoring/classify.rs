//! Routes by which engines serve reward models as classifiers: vLLM's and SGLang's `/classify`, `/pooling`, and SGLang's
//! rewards as embeddings. verl's remote reward models use the first and the last.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    chat_reward::{self, ChatTurn},
    examples,
    failures::Failures,
    openrlhf::OneOrMany,
    sample::Sample,
    scorer::{ScoreQuery, Scored, Scorer},
};
use crate::{
    dialects::openai::now,
    error::{ApiError, ErrorBody},
    images::ImageReader,
    json_body::JsonBytes,
    request_id,
};

/// What is to be scored: transcripts, or one conversation.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ClassifyBody {
    /// Any name.
    model: Option<String>,
    /// Transcripts in a chat format.
    input: Option<OneOrMany<String>>,
    /// The same in SGLang's own form, which is answered in that form.
    text: Option<OneOrMany<String>>,
    /// One conversation whose last turn is the assistant's.
    messages: Option<Vec<ChatTurn>>,
}

/// Scores as probabilities of a single class.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClassifyResponse {
    /// Another one for each response.
    id: String,
    /// Always `list`.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// The name that the request used, or that of the checkpoint.
    model: String,
    /// The scores in the order of the transcripts.
    data: Vec<Class>,
    /// Tokens read.
    usage: ScoreUsage,
}

/// A score as the probability of a class.
#[derive(Debug, Serialize, ToSchema)]
struct Class {
    /// The transcript's place in the request.
    index: usize,
    /// Always `score`.
    label: &'static str,
    /// The reward, alone.
    probs: [f64; 1],
    /// Always 1.
    num_classes: usize,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ClassifiedBody {
    /// Of `input` or `messages`.
    Classes(ClassifyResponse),
    /// Of `text`.
    Rewards(Vec<RewardVector>),
}

/// A score in SGLang's own form.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RewardVector {
    /// The reward, alone.
    embedding: [f64; 1],
    /// Figures of the request.
    meta_info: MetaInfo,
}

/// Figures of a request in SGLang's own form.
#[derive(Debug, Serialize, ToSchema)]
struct MetaInfo {
    /// Tokens of the prompt.
    prompt_tokens: usize,
}

/// Tokens read; none are written.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct ScoreUsage {
    /// Tokens of all prompts.
    prompt_tokens: usize,
    /// The same: nothing is written that anybody could read.
    total_tokens: usize,
    /// Always 0.
    completion_tokens: usize,
}

impl ScoreUsage {
    pub(super) fn of(scored: &[Scored]) -> Self {
        let prompt_tokens = scored.iter().map(|scored| scored.usage.prompt_tokens).sum();
        Self { prompt_tokens, total_tokens: prompt_tokens, completion_tokens: 0 }
    }
}

impl ClassifyBody {
    /// The samples, and where each stands.
    fn samples(self, reader: &ImageReader<'_>) -> Result<(Vec<Sample>, &'static str), ApiError> {
        let (texts, name) = match (self.input, self.text, self.messages) {
            (Some(texts), None, None) => (texts, "input"),
            (None, Some(texts), None) => (texts, "text"),
            (None, None, Some(messages)) => {
                return Ok((vec![chat_reward::sample(messages, reader)?], "messages"));
            }
            _ => return Err(ApiError::invalid("input", "Give one of input, text and messages.")),
        };
        let texts = texts.into_vec();
        let samples = texts.iter().enumerate();
        let samples = samples
            .map(|(index, text)| Sample::of_transcript((text, None), &format!("{name}[{index}]"), reader));
        Ok((samples.collect::<Result<_, _>>()?, name))
    }
}

/// What a body of these routes was found to be worth.
struct Classified {
    model: String,
    /// The member that the samples stood in.
    name: &'static str,
    scored: Vec<Scored>,
}

impl Classified {
    async fn read(scorer: &Scorer, body: &JsonBytes) -> Result<Self, ApiError> {
        let read = scorer.with_images(|reader| {
            let mut body: ClassifyBody = body.parse()?;
            let model = scorer.told(body.model.take())?;
            Ok((model, body.samples(reader)?))
        });
        let (model, (samples, name)) = read.await?;
        let scored = scorer.score(samples, |index| format!("{name}[{index}]")).await?;
        Ok(Self { model, name, scored })
    }
}

/// Score transcripts, as vLLM, SGLang and verl ask: the reward is the probability of the one class there is.
#[utoipa::path(
    post,
    path = "/classify",
    tag = "scoring",
    params(ScoreQuery),
    request_body(
        content = ClassifyBody,
        examples(
            ("input" = (value = json!(examples::classify()))),
            ("text" = (value = json!(examples::classify_text())))
        )
    ),
    responses(
        (
            status = 200,
description = "The rewards, in order.",
            body = ClassifiedBody,
            examples(
                ("input" = (value = json!(examples::classify_answer()))),
                ("text" = (value = json!(examples::classify_text_answer())))
            )
        ),
        (status = 400, description = "A transcript makes no sense.", body = ErrorBody),
        Failures
    )
)]
pub(super) async fn classify(scorer: Scorer, body: JsonBytes) -> Result<Json<ClassifiedBody>, ApiError> {
    let Classified { model, name, scored } = Classified::read(&scorer, &body).await?;
    if name == "text" {
        let one = |scored: &Scored| RewardVector {
            embedding: [scored.reward],
            meta_info: MetaInfo { prompt_tokens: scored.usage.prompt_tokens },
        };
        return Ok(Json(ClassifiedBody::Rewards(scored.iter().map(one).collect())));
    }
    let class = |(index, scored): (usize, &Scored)| Class {
        index,
        label: "score",
        probs: [scored.reward],
        num_classes: 1,
    };
    let response = ClassifyResponse {
        id: format!("classify-{}", request_id::fresh_id()),
        object: "list",
        created: now(),
        model,
        usage: ScoreUsage::of(&scored),
        data: scored.iter().enumerate().map(class).collect(),
    };
    Ok(Json(ClassifiedBody::Classes(response)))
}

/// Scores as vectors of one number.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VectorsResponse {
    /// Always `list`.
    object: &'static str,
    /// The name that the request used, or that of the checkpoint.
    model: String,
    /// The scores in the order of the transcripts.
    data: Vec<Vector>,
    /// Tokens read.
    usage: ScoreUsage,
}

/// A score as a vector, under the name that its route has for it.
#[derive(Debug, Serialize, ToSchema)]
struct Vector {
    /// The transcript's place in the request.
    index: usize,
    /// `pooling` or `embedding`.
    object: &'static str,
    /// The reward, alone, where `object` is `pooling`.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<[f64; 1]>,
    /// The reward, alone, where `object` is `embedding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<[f64; 1]>,
}

/// Score transcripts, as vLLM's clients ask reward models.
#[utoipa::path(
    post,
    path = "/pooling",
    tag = "scoring",
    params(ScoreQuery),
    request_body(content = ClassifyBody, example = json!(examples::pooling())),
    responses(
        (status = 200, description = "The rewards, in order.", body = VectorsResponse, example = json!(examples::pooling_answer())),
        (status = 400, description = "A transcript makes no sense.", body = ErrorBody),
        Failures
    )
)]
pub(super) async fn pooling(scorer: Scorer, body: JsonBytes) -> Result<Json<VectorsResponse>, ApiError> {
    vectors(&scorer, &body, "pooling").await
}

/// Score transcripts, as SGLang's clients ask reward models: the embedding is the reward alone.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "scoring",
    params(ScoreQuery),
    request_body(content = ClassifyBody, example = json!(examples::embeddings())),
    responses(
        (status = 200, description = "The rewards, in order.", body = VectorsResponse, example = json!(examples::embeddings_answer())),
        (status = 400, description = "A transcript makes no sense.", body = ErrorBody),
        Failures
    )
)]
pub(super) async fn embeddings(scorer: Scorer, body: JsonBytes) -> Result<Json<VectorsResponse>, ApiError> {
    vectors(&scorer, &body, "embedding").await
}

async fn vectors(
    scorer: &Scorer,
    body: &JsonBytes,
    object: &'static str,
) -> Result<Json<VectorsResponse>, ApiError> {
    let Classified { model, scored, .. } = Classified::read(scorer, body).await?;
    let vector = |(index, scored): (usize, &Scored)| Vector {
        index,
        object,
        data: (object == "pooling").then_some([scored.reward]),
        embedding: (object == "embedding").then_some([scored.reward]),
    };
    let data = scored.iter().enumerate().map(vector).collect();
    Ok(Json(VectorsResponse { object: "list", model, data, usage: ScoreUsage::of(&scored) }))
}
