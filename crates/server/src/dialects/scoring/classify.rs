//! Routes by which engines serve reward models as classifiers: `/classify` of vLLM and SGLang, `/pooling` of vLLM,
//! and SGLang's rewards as embeddings. verl's remote reward models use the first and the last.

use axum::Json;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    bodies::{MetaInfo, ScoreUsage, parse_rewarded},
    chat_reward, examples,
    messages::Turn,
    sample::Sample,
    scorer::{SampleScore, ScoreQuery, Scorer},
};
use crate::{
    dialects::one_or_many::OneOrMany,
    error::{ApiError, ErrorBody, ErrorCode, ScoringErrors},
    extract::json_body::JsonBytes,
    images::ImageReader,
    process::clock::unix_seconds,
    request::id,
};

/// Transcripts or one conversation to score: one of `input`, `text` and `messages`.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ClassifyBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// Transcripts in a chat format.
    input: Option<OneOrMany<String>>,
    /// Transcripts in SGLang's own form; `/classify` then answers in that form.
    text: Option<OneOrMany<String>>,
    /// One conversation whose last message is the assistant's answer.
    messages: Option<Vec<Turn>>,
    /// How `/pooling` and `/v1/embeddings` write vectors; by default `float`.
    encoding_format: Option<EncodingFormat>,
}

/// How a vector is written.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EncodingFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// The base64 of its numbers in 32 bits, little-endian.
    Base64,
}

/// Scores as probabilities of a single class.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClassifyResponse {
    /// A unique id of the response.
    id: String,
    /// Always `list`.
    object: &'static str,
    /// When it was created, in seconds since 1970.
    created: u64,
    /// The model's name in the request, or that of the checkpoint.
    model: String,
    /// The scores in the order of the transcripts.
    data: Vec<Class>,
    /// Token counts.
    usage: ScoreUsage,
}

/// A score as the probability of a class.
#[derive(Debug, Serialize, ToSchema)]
struct Class {
    /// Index of the transcript in the request, from 0.
    index: usize,
    /// Always `score`.
    label: &'static str,
    /// A list with the reward.
    probs: [f64; 1],
    /// Always 1.
    num_classes: usize,
}

/// The scores in the form of the request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ClassifiedBody {
    /// The answer to `input` or `messages`.
    Classes(ClassifyResponse),
    /// The answer to `text`.
    Rewards(Vec<RewardVector>),
}

/// A score in SGLang's own form.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RewardVector {
    /// A list with the reward.
    embedding: [f64; 1],
    /// Figures of the transcript.
    meta_info: MetaInfo,
}

/// The member of a body that has the transcripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputMember {
    Input,
    /// That of SGLang's own form.
    Text,
    Messages,
}

/// Where a body has its transcripts.
#[derive(Debug, Clone, Copy)]
struct InputPlace {
    member: InputMember,
    /// Whether the member is a list of transcripts, and not a single one.
    is_list: bool,
}

impl InputPlace {
    /// The path of the transcript at `index`.
    fn path(self, index: usize) -> String {
        let name = match self.member {
            InputMember::Input => "input",
            InputMember::Text => "text",
            InputMember::Messages => "messages",
        };
        if self.is_list { format!("{name}[{index}]") } else { name.to_owned() }
    }
}

impl ClassifyBody {
    /// The samples of the one member that has them.
    fn samples(self, reader: &ImageReader<'_>) -> Result<(InputPlace, Vec<Sample>), ApiError> {
        let (member, texts) = match (self.input, self.text, self.messages) {
            (Some(texts), None, None) => (InputMember::Input, texts),
            (None, Some(texts), None) => (InputMember::Text, texts),
            (None, None, Some(turns)) => {
                let place = InputPlace { member: InputMember::Messages, is_list: false };
                return Ok((place, vec![chat_reward::sample(turns, reader)?]));
            }
            _ => return Err(ApiError::invalid("input", "Give one of input, text and messages.")),
        };
        let place = InputPlace { member, is_list: matches!(texts, OneOrMany::Many(_)) };
        let texts = texts.into_vec();
        let samples = texts.iter().enumerate();
        let samples =
            samples.map(|(index, text)| Sample::of_transcript(text, None, &place.path(index), reader));
        Ok((place, samples.collect::<Result<_, _>>()?))
    }
}

/// The scores of a body.
struct Classified {
    model: String,
    member: InputMember,
    encoding: EncodingFormat,
    scored: Vec<SampleScore>,
}

impl Classified {
    /// Scores the samples of a body.
    async fn score(scorer: &Scorer, body: JsonBytes) -> Result<Self, ApiError> {
        let read = scorer.read(body, |body, reader| {
            let mut body: ClassifyBody = parse_rewarded(body)?;
            let model = scorer.response_model(body.model.take())?;
            let encoding = body.encoding_format.unwrap_or_default();
            Ok(((model, encoding), body.samples(reader)?))
        });
        let (((model, encoding), (place, samples)), _memory) = read.await?;
        let scored = scorer.score(samples, |index| place.path(index)).await?;
        Ok(Self { model, member: place.member, encoding, scored })
    }
}

/// Score transcripts, in the interface of vLLM, SGLang and verl: the reward is the probability of the single class.
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
        (status = 400, description = "A transcript is invalid.", body = ErrorBody),
        ScoringErrors
    )
)]
pub(super) async fn classify(scorer: Scorer, body: JsonBytes) -> Result<Json<ClassifiedBody>, ApiError> {
    let Classified { model, member, scored, .. } = Classified::score(&scorer, body).await?;
    if member == InputMember::Text {
        let reward = |scored: &SampleScore| RewardVector {
            embedding: [scored.reward],
            meta_info: MetaInfo::of(scored),
        };
        return Ok(Json(ClassifiedBody::Rewards(scored.iter().map(reward).collect())));
    }
    let class = |(index, scored): (usize, &SampleScore)| Class {
        index,
        label: "score",
        probs: [scored.reward],
        num_classes: 1,
    };
    let response = ClassifyResponse {
        id: format!("classify-{}", id::fresh_id()),
        object: "list",
        created: unix_seconds(),
        model,
        usage: ScoreUsage::of(&scored),
        data: scored.iter().enumerate().map(class).collect(),
    };
    Ok(Json(ClassifiedBody::Classes(response)))
}

/// Scores as vectors with one number.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VectorsResponse {
    /// Always `list`.
    object: &'static str,
    /// The model's name in the request, or that of the checkpoint.
    model: String,
    /// The scores in the order of the transcripts.
    data: Vec<Vector>,
    /// Token counts.
    usage: ScoreUsage,
}

/// A score as a vector, in the form of the route.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Vector {
    /// That of `/pooling`.
    Pooling {
        /// Index of the transcript in the request, from 0.
        index: usize,
        /// Always `pooling`.
        object: &'static str,
        /// The reward.
        data: EncodedVector,
    },
    /// That of `/v1/embeddings`.
    Embedding {
        /// Index of the transcript in the request, from 0.
        index: usize,
        /// Always `embedding`.
        object: &'static str,
        /// The reward.
        embedding: EncodedVector,
    },
}

impl Vector {
    /// A vector of `/pooling`.
    fn pooling(index: usize, data: EncodedVector) -> Self {
        Self::Pooling { index, object: "pooling", data }
    }

    /// A vector of `/v1/embeddings`.
    fn embedding(index: usize, embedding: EncodedVector) -> Self {
        Self::Embedding { index, object: "embedding", embedding }
    }
}

/// A vector with one number, in the requested encoding.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
enum EncodedVector {
    /// A list of numbers.
    Numbers([f64; 1]),
    /// The base64 of the numbers in 32 bits, little-endian.
    Base64(String),
}

impl EncodingFormat {
    /// A vector with the reward as its only number.
    fn encode(self, reward: f64) -> EncodedVector {
        match self {
            Self::Float => EncodedVector::Numbers([reward]),
            Self::Base64 => EncodedVector::Base64(BASE64_STANDARD.encode((reward as f32).to_le_bytes())),
        }
    }
}

/// Score transcripts, in vLLM's interface of reward models.
#[utoipa::path(
    post,
    path = "/pooling",
    tag = "scoring",
    params(ScoreQuery),
    request_body(content = ClassifyBody, example = json!(examples::pooling())),
    responses(
        (status = 200, description = "The rewards, in order.", body = VectorsResponse, example = json!(examples::pooling_answer())),
        (status = 400, description = "A transcript is invalid.", body = ErrorBody),
        ScoringErrors
    )
)]
pub(super) async fn pooling(scorer: Scorer, body: JsonBytes) -> Result<Json<VectorsResponse>, ApiError> {
    vectors(&scorer, body, Vector::pooling).await
}

/// Score transcripts, in SGLang's interface of reward models: the embedding has the reward as its only number.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "scoring",
    params(ScoreQuery),
    request_body(content = ClassifyBody, example = json!(examples::embeddings())),
    responses(
        (status = 200, description = "The rewards, in order.", body = VectorsResponse, example = json!(examples::embeddings_answer())),
        (status = 400, description = "A transcript is invalid.", body = ErrorBody),
        ScoringErrors
    )
)]
pub(super) async fn embeddings(scorer: Scorer, body: JsonBytes) -> Result<Json<VectorsResponse>, ApiError> {
    vectors(&scorer, body, Vector::embedding).await.map_err(without_embeddings)
}

/// The error of a request to `/v1/embeddings`. Clients that want the embedding of a text send other inputs than
/// transcripts, and are told that there are none.
fn without_embeddings(error: ApiError) -> ApiError {
    let Some(param) = error.param().filter(|param| param.starts_with("input")) else { return error };
    if ![ErrorCode::UnknownTranscript, ErrorCode::InvalidRequest].contains(&error.code()) {
        return error;
    }
    let message = format!(
        "{} A judge has no embeddings of texts: this route returns the reward of a conversation in their form, as SGLang \
         does. Answers are judged by /judge, /reward, /score and /rerank.",
        error.message()
    );
    ApiError::invalid(param, message).with_code(error.code())
}

/// The scores of a body as vectors, of which `vector` makes each, from its index and its numbers.
async fn vectors(
    scorer: &Scorer,
    body: JsonBytes,
    vector: fn(usize, EncodedVector) -> Vector,
) -> Result<Json<VectorsResponse>, ApiError> {
    let Classified { model, encoding, scored, .. } = Classified::score(scorer, body).await?;
    let scores = scored.iter().enumerate();
    let data = scores.map(|(index, scored)| vector(index, encoding.encode(scored.reward))).collect();
    Ok(Json(VectorsResponse { object: "list", model, data, usage: ScoreUsage::of(&scored) }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::remote_images::RemoteImages;

    #[test]
    fn a_transcript_has_the_path_at_which_it_stands() {
        let off = RemoteImages::default();
        let refused = |body: Value| {
            let body: ClassifyBody = serde_json::from_value(body).unwrap();
            body.samples(&ImageReader::new(&off)).err().unwrap().param().map(str::to_owned)
        };
        for (body, path) in [
            (json!({ "input": "no transcript" }), "input"),
            (json!({ "input": ["no transcript"] }), "input[0]"),
            (json!({ "text": "no transcript" }), "text"),
            (json!({ "text": ["no transcript"] }), "text[0]"),
        ] {
            assert_eq!(refused(body).as_deref(), Some(path));
        }
    }
}
