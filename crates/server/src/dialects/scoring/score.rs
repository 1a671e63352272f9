//! vLLM's score route: how well the second text of each pair answers the first.

use std::sync::Arc;

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    bodies::ScoreUsage,
    examples,
    generative::{self, GenerativeBody, GenerativeResponse, NormalisedOver},
    sample::{MemberSamples, Sample},
    scorer::{SampleScore, ScoreQuery, Scorer},
    text_or_parts::{Rankable, TextOrParts},
};
use crate::{
    dialects::{
        one_or_many::OneOrMany,
        parameters::{self, Members},
    },
    error::{ApiError, ErrorBody, ErrorCode, ScoringErrors},
    extract::json_body::JsonBytes,
    images::ImageReader,
    process::clock::unix_seconds,
    request::id,
};

/// Pairs to score: one question with several answers, or as many questions as answers. Questions and answers are in
/// the members `queries` and `documents` (or `items`), `data_1` and `data_2`, or `text_1` and `text_2`.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ScoreBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// The questions, with images among their parts.
    queries: Option<OneOrMany<TextOrParts>>,
    /// The answers to `queries`.
    documents: Option<OneOrMany<TextOrParts>>,
    /// The answers to `queries`, instead of `documents`.
    items: Option<OneOrMany<TextOrParts>>,
    /// The questions, with images among their parts.
    data_1: Option<OneOrMany<TextOrParts>>,
    /// The answers to `data_1`.
    data_2: Option<OneOrMany<TextOrParts>>,
    /// The questions, with images among their parts.
    text_1: Option<OneOrMany<TextOrParts>>,
    /// The answers to `text_1`.
    text_2: Option<OneOrMany<TextOrParts>>,
    /// What the answers are scored for, which is put before each question.
    instruction: Option<String>,
    /// The same, as SGLang's clients name it.
    instruct: Option<String>,
    /// The same in a member `instruction`, as vLLM's clients may send it. No other member is supported.
    #[schema(value_type = Option<Object>)]
    chat_template_kwargs: Option<Members>,
}

/// The members that are read of a body. `query` is among them, so that a body without `label_token_ids` gets the
/// error that mentions these.
const KNOWN_MEMBERS: [&str; 12] = [
    "model",
    "query",
    "queries",
    "documents",
    "items",
    "data_1",
    "data_2",
    "text_1",
    "text_2",
    "instruct",
    "instruction",
    "chat_template_kwargs",
];

/// The names of the members with the questions and the answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemberNames {
    pub(super) questions: &'static str,
    pub(super) answers: &'static str,
}

/// The questions and answers of a body.
struct Pairs {
    questions: Vec<TextOrParts>,
    answers: Vec<TextOrParts>,
    members: MemberNames,
}

/// A request for scores of answers, or for probabilities of tokens.
#[derive(Debug, ToSchema, Deserialize)]
#[serde(untagged)]
#[schema(as = AskedBody)]
enum ScoreOrTokensBody {
    /// Pairs to score.
    Answers(Box<ScoreBody>),
    /// Tokens whose probabilities are returned, in SGLang's form.
    Tokens(GenerativeBody),
}

impl ScoreOrTokensBody {
    /// Parses a body. It has SGLang's form if it has `label_token_ids`.
    fn read(body: &JsonBytes) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Labels {
            label_token_ids: Option<IgnoredAny>,
        }
        match body.parse::<Labels>()?.label_token_ids {
            Some(_) => generative::read(body).map(Self::Tokens),
            None => {
                parameters::check(body, &KNOWN_MEMBERS)?;
                body.parse().map(Self::Answers)
            }
        }
    }
}

/// A request with its images.
enum ScoreRequest {
    /// For probabilities of tokens.
    Tokens(GenerativeBody),
    /// For scores of answers.
    Answers {
        /// The model's name for the response.
        model: String,
        /// The samples, of the member with the answers.
        samples: MemberSamples,
    },
}

/// The answer in the form of the request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ScoredBody {
    /// The scores of pairs.
    Answers(ScoreResponse),
    /// The probabilities of tokens.
    Tokens(GenerativeResponse),
}

/// Scores in the order of the pairs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ScoreResponse {
    /// A unique id of the response.
    id: String,
    /// Always `list`.
    object: &'static str,
    /// When it was created, in seconds since 1970.
    created: u64,
    /// The model's name in the request, or that of the checkpoint.
    model: String,
    /// The scores in the order of the pairs.
    data: Vec<PairScore>,
    /// Token counts.
    usage: ScoreUsage,
}

/// The score of a pair.
#[derive(Debug, Serialize, ToSchema)]
struct PairScore {
    /// Index of the pair in the request, from 0.
    index: usize,
    /// Always `score`.
    object: &'static str,
    /// The reward.
    score: f64,
}

/// The samples of one question with several answers, which are in these members of the request.
pub(super) fn samples(
    question: Rankable,
    answers: Vec<Rankable>,
    members: MemberNames,
    reader: &ImageReader<'_>,
) -> Result<Vec<Sample>, ApiError> {
    let (question, images) = question.read(members.questions, reader)?;
    reader.count(images.len(), images.len(), members.questions)?;
    let question: Arc<str> = question.into();
    let sample = |(index, answer): (usize, Rankable)| {
        let path = format!("{}[{index}]", members.answers);
        let (response, answer_images) = answer.answer(&path, reader)?;
        reader.count(answer_images.len(), images.len() + answer_images.len(), &path)?;
        let images = images.iter().cloned().chain(answer_images).collect();
        Ok(Sample { images, ..Sample::new(Arc::clone(&question), response) })
    };
    answers.into_iter().enumerate().map(sample).collect()
}

/// What the answers of a body are scored for: one of its members `instruct` and `instruction` or the instruction among
/// its `chat_template_kwargs`, if the text is not blank.
///
/// # Errors
/// When several of them have a text, or `chat_template_kwargs` ask for something else.
pub(super) fn instruction(
    [instruct, instruction]: [Option<String>; 2],
    chat_template_kwargs: Option<Members>,
) -> Result<Option<String>, ApiError> {
    let mut template = chat_template_kwargs.unwrap_or_default();
    parameters::check_members(&template, &["instruction"], "chat_template_kwargs.")?;
    let of_template = match template.remove("instruction") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => {
            let path = "chat_template_kwargs.instruction";
            return Err(ApiError::invalid(path, format!("{path} must be text.")));
        }
    };
    let texts = [instruct, instruction, of_template].into_iter().flatten();
    let mut texts = texts.filter(|text| !text.trim().is_empty());
    match (texts.next(), texts.next()) {
        (Some(_), Some(_)) => {
            let message = "Give one of instruct, instruction and chat_template_kwargs.instruction, which mean the same.";
            Err(ApiError::invalid("instruction", message))
        }
        (text, _) => Ok(text),
    }
}

/// Puts an instruction before the question of each sample.
pub(super) fn with_instruction(mut samples: Vec<Sample>, instruction: Option<String>) -> Vec<Sample> {
    let instruction: Option<Arc<str>> = instruction.map(Arc::from);
    for sample in &mut samples {
        sample.instruction.clone_from(&instruction);
    }
    samples
}

impl ScoreBody {
    /// The questions and answers, from the first pair of members that the body has.
    fn pairs(self) -> Result<Pairs, ApiError> {
        let Self { queries, documents, items, data_1, data_2, text_1, text_2, .. } = self;
        let (answers, name) = if documents.is_some() { (documents, "documents") } else { (items, "items") };
        let all = [
            (queries, answers, MemberNames { questions: "queries", answers: name }),
            (data_1, data_2, MemberNames { questions: "data_1", answers: "data_2" }),
            (text_1, text_2, MemberNames { questions: "text_1", answers: "text_2" }),
        ];
        let mut complete = all.into_iter().filter_map(|(questions, answers, members)| {
            Some(Pairs { questions: questions?.into_vec(), answers: answers?.into_vec(), members })
        });
        complete.next().ok_or_else(|| {
            let message = "Give queries and documents, queries and items, data_1 and data_2, or text_1 and text_2; or query and \
                           items with label_token_ids.";
            ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, message)
        })
    }

    /// The samples of the member with the answers.
    fn samples(self, reader: &ImageReader<'_>) -> Result<MemberSamples, ApiError> {
        let Pairs { questions, answers, members } = self.pairs()?;
        let (question_count, answer_count) = (questions.len(), answers.len());
        let mut questions = questions.into_iter();
        if question_count == 1
            && let Some(question) = questions.next()
        {
            let answers = answers.into_iter().map(Rankable::from).collect();
            let samples = samples(question.into(), answers, members, reader)?;
            return Ok(MemberSamples { samples, member: members.answers });
        }
        if question_count != answer_count {
            let message = format!(
                "Give one question for all answers, or one for each: {answer_count} in all, not {question_count}."
            );
            return Err(ApiError::invalid(members.answers, message));
        }
        let samples = questions.zip(answers).enumerate().map(|(index, (question, answer))| {
            let (question, mut images) = question.read(&format!("{}[{index}]", members.questions), reader)?;
            let path = format!("{}[{index}]", members.answers);
            let (response, answer_images) = answer.answer(&path, reader)?;
            images.extend(answer_images);
            reader.count(images.len(), images.len(), &path)?;
            Ok(Sample { images, ..Sample::new(question, response) })
        });
        Ok(MemberSamples { samples: samples.collect::<Result<_, ApiError>>()?, member: members.answers })
    }
}

/// Score answers to questions, in vLLM's interface; with `label_token_ids`, return the probabilities of these
/// tokens, in SGLang's.
#[utoipa::path(
    post,
    path = "/score",
    tag = "scoring",
    params(ScoreQuery),
    request_body(
        content = ScoreOrTokensBody,
        examples(
            ("answers" = (value = json!(examples::score()))),
            ("tokens" = (value = json!(examples::generative())))
        )
    ),
    responses(
        (
            status = 200,
description = "The scores, in order.",
            body = ScoredBody,
            examples(
                ("answers" = (value = json!(examples::score_answer()))),
                ("tokens" = (value = json!(examples::generative_answer())))
            )
        ),
        (status = 400, description = "A pair is invalid.", body = ErrorBody),
        ScoringErrors
    )
)]
pub(super) async fn score(scorer: Scorer, body: JsonBytes) -> Result<Json<ScoredBody>, ApiError> {
    let read = scorer.read(body, |body, reader| match ScoreOrTokensBody::read(body)? {
        ScoreOrTokensBody::Tokens(body) => Ok(ScoreRequest::Tokens(body)),
        ScoreOrTokensBody::Answers(mut body) => {
            let model = scorer.response_model(body.model.take())?;
            let instruction = instruction(
                [body.instruct.take(), body.instruction.take()],
                body.chat_template_kwargs.take(),
            )?;
            let MemberSamples { samples, member } = body.samples(reader)?;
            let samples = with_instruction(samples, instruction);
            Ok(ScoreRequest::Answers { model, samples: MemberSamples { samples, member } })
        }
    });
    let (request, _memory) = read.await?;
    match request {
        ScoreRequest::Tokens(body) => {
            let probabilities = generative::probabilities(&scorer, body, NormalisedOver::Vocabulary);
            probabilities.await.map(ScoredBody::Tokens).map(Json)
        }
        ScoreRequest::Answers { model, samples } => {
            score_answers(&scorer, model, samples).await.map(ScoredBody::Answers).map(Json)
        }
    }
}

/// Scores the answers of a request; `model` is the model's name for the response.
async fn score_answers(
    scorer: &Scorer,
    model: String,
    samples: MemberSamples,
) -> Result<ScoreResponse, ApiError> {
    let MemberSamples { samples, member } = samples;
    let scored = scorer.score(samples, |index| format!("{member}[{index}]")).await?;
    let score =
        |(index, scored): (usize, &SampleScore)| PairScore { index, object: "score", score: scored.reward };
    Ok(ScoreResponse {
        id: format!("score-{}", id::fresh_id()),
        object: "list",
        created: unix_seconds(),
        model,
        usage: ScoreUsage::of(&scored),
        data: scored.iter().enumerate().map(score).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_those_of_the_schema() {
        parameters::assert_covers::<ScoreBody>(&KNOWN_MEMBERS, &["query"]);
    }
}
