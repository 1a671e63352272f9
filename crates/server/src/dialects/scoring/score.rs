//! Scores of pairs of texts, as vLLM has them: how well does the second answer the first?

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    classify::ScoreUsage,
    examples,
    failures::Failures,
    generative::{self, GenerativeBody, GenerativeResponse},
    openrlhf::OneOrMany,
    sample::{Sample, TextOrParts},
    scorer::{ScoreQuery, Scored, Scorer},
};
use crate::{
    dialects::openai::now,
    error::{ApiError, ErrorBody},
    images::ImageReader,
    json_body::JsonBytes,
    request_id,
};

/// Pairs to score: one question with many answers, or as many of each.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ScoreBody {
    /// Any name.
    model: Option<String>,
    /// The questions, with images among their parts.
    #[serde(alias = "data_1", alias = "text_1")]
    queries: OneOrMany<TextOrParts>,
    /// The answers.
    #[serde(alias = "items", alias = "data_2", alias = "text_2")]
    documents: OneOrMany<TextOrParts>,
}

/// What is asked: how good answers are, or how probable tokens.
#[derive(Debug, ToSchema, Deserialize)]
#[serde(untagged)]
enum AskedBody {
    /// Pairs to score.
    Answers(ScoreBody),
    /// Tokens, as SGLang's clients ask for them.
    Tokens(GenerativeBody),
}

impl AskedBody {
    /// What the body is. One that is neither is told as pairs, which most clients mean.
    fn read(body: &JsonBytes) -> Result<Self, ApiError> {
        match body.parse() {
            Ok(tokens) => Ok(Self::Tokens(tokens)),
            Err(_) => body.parse().map(Self::Answers),
        }
    }
}

/// What is asked for, with its images.
enum Asked {
    /// How probable tokens are.
    Tokens(GenerativeBody),
    /// Scores, by a critic of this name.
    Answers(String, Vec<Sample>),
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ScoredBody {
    /// Of pairs.
    Answers(ScoreResponse),
    /// Of tokens.
    Tokens(GenerativeResponse),
}

/// Scores in the order of the pairs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ScoreResponse {
    /// Another one for each response.
    id: String,
    /// Always `list`.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// The name that the request used, or that of the checkpoint.
    model: String,
    /// The scores in the order of the pairs.
    data: Vec<PairScore>,
    /// Tokens read.
    usage: ScoreUsage,
}

/// The score of a pair.
#[derive(Debug, Serialize, ToSchema)]
struct PairScore {
    /// The pair's place in the request.
    index: usize,
    /// Always `score`.
    object: &'static str,
    /// The reward.
    score: f64,
}

/// A question, its answers, and where these stand in the request.
pub(super) fn samples(
    question: TextOrParts,
    answers: Vec<TextOrParts>,
    (question_path, answers_path): (&str, &str),
    reader: &ImageReader<'_>,
) -> Result<Vec<Sample>, ApiError> {
    let (question, images) = question.read(question_path, reader)?;
    let sample = |(index, answer): (usize, TextOrParts)| {
        let response = answer.text(&format!("{answers_path}[{index}]"), reader)?;
        Ok(Sample { images: images.clone(), ..Sample::new(question.clone(), response) })
    };
    answers.into_iter().enumerate().map(sample).collect()
}

impl ScoreBody {
    fn samples(self, reader: &ImageReader<'_>) -> Result<Vec<Sample>, ApiError> {
        let (queries, documents) = (self.queries.into_vec(), self.documents.into_vec());
        let (questions, answers) = (queries.len(), documents.len());
        let mut queries = queries.into_iter();
        if questions == 1
            && let Some(question) = queries.next()
        {
            return samples(question, documents, ("queries", "documents"), reader);
        }
        if questions != answers {
            let message = format!("There are {questions} questions and {answers} answers.");
            return Err(ApiError::invalid("documents", message));
        }
        let pairs = queries.zip(documents).enumerate().map(|(index, (question, answer))| {
            let (question, images) = question.read(&format!("queries[{index}]"), reader)?;
            let response = answer.text(&format!("documents[{index}]"), reader)?;
            Ok(Sample { images, ..Sample::new(question, response) })
        });
        pairs.collect()
    }
}

/// Score answers to questions, as vLLM's clients ask; with `label_token_ids`, the probabilities of these, as SGLang's do.
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
        (status = 400, description = "The pairs make no sense.", body = ErrorBody),
        Failures
    )
)]
pub(super) async fn score(scorer: Scorer, body: JsonBytes) -> Result<Json<ScoredBody>, ApiError> {
    let read = scorer.with_images(|reader| match AskedBody::read(&body)? {
        AskedBody::Tokens(body) => Ok(Asked::Tokens(body)),
        AskedBody::Answers(mut body) => {
            let model = scorer.told(body.model.take())?;
            Ok(Asked::Answers(model, body.samples(reader)?))
        }
    });
    let (model, samples) = match read.await? {
        Asked::Tokens(body) => {
            return generative::probabilities(&scorer, body).await.map(ScoredBody::Tokens).map(Json);
        }
        Asked::Answers(model, samples) => (model, samples),
    };
    let scored = scorer.score(samples, |index| format!("documents[{index}]")).await?;
    let score =
        |(index, scored): (usize, &Scored)| PairScore { index, object: "score", score: scored.reward };
    let response = ScoreResponse {
        id: format!("score-{}", request_id::fresh_id()),
        object: "list",
        created: now(),
        model,
        usage: ScoreUsage::of(&scored),
        data: scored.iter().enumerate().map(score).collect(),
    };
    Ok(Json(ScoredBody::Answers(response)))
}
