//! vLLM's score route: how well the second text of each pair answers the first.

use std::sync::Arc;

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use utoipa::ToSchema;

use super::{
    bodies::{OneOrMany, ScoreUsage},
    examples,
    failures::Failures,
    generative::{self, GenerativeBody, GenerativeResponse},
    parameters,
    sample::{Sample, TextOrParts},
    scorer::{ScoreQuery, Scored, Scorer},
};
use crate::{
    clock::unix_seconds,
    error::{ApiError, ErrorBody},
    images::ImageReader,
    json_body::JsonBytes,
    request_id,
};

/// Pairs to score: one question with several answers, or as many questions as answers. Questions and answers are in
/// the members `queries` and `documents` (or `items`), `data_1` and `data_2`, or `text_1` and `text_2`.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ScoreBody {
    /// Any name, unless the server refuses unknown ones.
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
}

/// The members that are read of a body. `query` is among them, so that a body without `label_token_ids` gets the
/// error that mentions these.
const READ: [&str; 11] = [
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
];

/// The names of the members with the questions and the answers.
type Names = (&'static str, &'static str);

/// A request for scores of answers, or for probabilities of tokens.
#[derive(Debug, ToSchema, Deserialize)]
#[serde(untagged)]
enum AskedBody {
    /// Pairs to score.
    Answers(ScoreBody),
    /// Tokens whose probabilities are returned, in SGLang's form.
    Tokens(GenerativeBody),
}

impl AskedBody {
    /// Parses a body. It has SGLang's form if it has `label_token_ids`.
    fn read(body: &JsonBytes) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Told {
            label_token_ids: Option<IgnoredAny>,
        }
        match body.parse::<Told>()?.label_token_ids {
            Some(_) => generative::read(body).map(Self::Tokens),
            None => {
                parameters::check(body, &READ)?;
                body.parse().map(Self::Answers)
            }
        }
    }
}

/// A request with its images.
enum Asked {
    /// Probabilities of tokens.
    Tokens(GenerativeBody),
    /// The model's name for the response, the samples to score, and the name of the member with the answers.
    Answers(String, Vec<Sample>, &'static str),
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

/// The samples of one question with several answers; the paths are those of the question and of the answers in the
/// request.
pub(super) fn samples(
    question: TextOrParts,
    answers: Vec<TextOrParts>,
    (question_path, answers_path): (&str, &str),
    reader: &ImageReader<'_>,
) -> Result<Vec<Sample>, ApiError> {
    let (question, images) = question.read(question_path, reader)?;
    let question: Arc<str> = question.into();
    let sample = |(index, answer): (usize, TextOrParts)| {
        let (response, beside) = answer.answer(&format!("{answers_path}[{index}]"), reader)?;
        let images = images.iter().cloned().chain(beside).collect();
        Ok(Sample { images, ..Sample::new(Arc::clone(&question), response) })
    };
    answers.into_iter().enumerate().map(sample).collect()
}

/// What the answers of a body are scored for: one of the two members, if its text is not blank.
///
/// # Errors
/// When both members have a text.
pub(super) fn instruction(
    instruct: Option<String>,
    instruction: Option<String>,
) -> Result<Option<String>, ApiError> {
    let told = |text: &String| !text.trim().is_empty();
    match (instruct.filter(told), instruction.filter(told)) {
        (Some(_), Some(_)) => Err(ApiError::invalid(
            "instruction",
            "Give one of instruct and instruction, which mean the same.",
        )),
        (one, other) => Ok(one.or(other)),
    }
}

/// Puts an instruction before the question of each sample.
pub(super) fn instructed(samples: Vec<Sample>, instruction: Option<&str>) -> Vec<Sample> {
    let Some(instruction) = instruction else { return samples };
    // Samples that share a question share the new one, too.
    let mut last: Option<(Arc<str>, Arc<str>)> = None;
    let instructed = |sample: Sample| {
        let question = match last.take() {
            Some((plain, whole)) if Arc::ptr_eq(&plain, &sample.question) => whole,
            _ => format!("{instruction}\n\n{}", sample.question).into(),
        };
        last = Some((sample.question, Arc::clone(&question)));
        Sample { question, ..sample }
    };
    samples.into_iter().map(instructed).collect()
}

impl ScoreBody {
    /// The questions, the answers, and the names of their members.
    fn sides(self) -> Result<(Vec<TextOrParts>, Vec<TextOrParts>, Names), ApiError> {
        let Self { queries, documents, items, data_1, data_2, text_1, text_2, .. } = self;
        let (answers, second) = if documents.is_some() { (documents, "documents") } else { (items, "items") };
        let all = [
            (queries, answers, ("queries", second)),
            (data_1, data_2, ("data_1", "data_2")),
            (text_1, text_2, ("text_1", "text_2")),
        ];
        let mut whole = all
            .into_iter()
            .filter_map(|(first, second, names)| Some((first?.into_vec(), second?.into_vec(), names)));
        whole.next().ok_or_else(|| {
            let message = "Give queries and documents, queries and items, data_1 and data_2, or text_1 and text_2; or query and \
                           items with label_token_ids.";
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_request", message)
        })
    }

    /// The samples, and the name of the member with the answers.
    fn samples(self, reader: &ImageReader<'_>) -> Result<(Vec<Sample>, &'static str), ApiError> {
        let (queries, documents, names) = self.sides()?;
        let (questions, answers) = (queries.len(), documents.len());
        let mut queries = queries.into_iter();
        if questions == 1
            && let Some(question) = queries.next()
        {
            return Ok((samples(question, documents, names, reader)?, names.1));
        }
        if questions != answers {
            let message = format!(
                "Give one question for all answers, or one for each: {answers} in all, not {questions}."
            );
            return Err(ApiError::invalid(names.1, message));
        }
        let pairs = queries.zip(documents).enumerate().map(|(index, (question, answer))| {
            let (question, mut images) = question.read(&format!("{}[{index}]", names.0), reader)?;
            let (response, beside) = answer.answer(&format!("{}[{index}]", names.1), reader)?;
            images.extend(beside);
            Ok(Sample { images, ..Sample::new(question, response) })
        });
        Ok((pairs.collect::<Result<_, ApiError>>()?, names.1))
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
        content = AskedBody,
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
        Failures
    )
)]
pub(super) async fn score(scorer: Scorer, body: JsonBytes) -> Result<Json<ScoredBody>, ApiError> {
    let read = scorer.with_images(|reader| match AskedBody::read(&body)? {
        AskedBody::Tokens(body) => Ok(Asked::Tokens(body)),
        AskedBody::Answers(mut body) => {
            let model = scorer.told(body.model.take())?;
            let instruction = instruction(body.instruct.take(), body.instruction.take())?;
            let (samples, name) = body.samples(reader)?;
            Ok(Asked::Answers(model, instructed(samples, instruction.as_deref()), name))
        }
    });
    let (model, samples, name) = match read.await? {
        Asked::Tokens(body) => {
            return generative::probabilities(&scorer, body).await.map(ScoredBody::Tokens).map(Json);
        }
        Asked::Answers(model, samples, name) => (model, samples, name),
    };
    let scored = scorer.score(samples, |index| format!("{name}[{index}]")).await?;
    let score =
        |(index, scored): (usize, &Scored)| PairScore { index, object: "score", score: scored.reward };
    let response = ScoreResponse {
        id: format!("score-{}", request_id::fresh_id()),
        object: "list",
        created: unix_seconds(),
        model,
        usage: ScoreUsage::of(&scored),
        data: scored.iter().enumerate().map(score).collect(),
    };
    Ok(Json(ScoredBody::Answers(response)))
}
