//! Scores of pairs of texts, as vLLM has them: how well does the second answer the first?

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    classify::ScoreUsage,
    generative::{self, GenerativeBody, GenerativeResponse},
    openrlhf::OneOrMany,
    sample::{Sample, TextOrParts},
    scorer::{ScoreQuery, Scored, Scorer},
};
use crate::{
    dialects::openai::now,
    error::{ApiError, ErrorBody},
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

/// Scores in the order of the pairs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ScoreResponse {
    id: String,
    /// Always `list`.
    object: &'static str,
    created: u64,
    model: String,
    data: Vec<PairScore>,
    usage: ScoreUsage,
}

/// The score of a pair.
#[derive(Debug, Serialize, ToSchema)]
struct PairScore {
    index: usize,
    /// Always `score`.
    object: &'static str,
    score: f64,
}

/// A question, its answers, and where these stand in the request.
pub(super) fn samples(
    question: TextOrParts,
    answers: Vec<TextOrParts>,
    (question_path, answers_path): (&str, &str),
) -> Result<Vec<Sample>, ApiError> {
    let (question, images) = question.read(question_path)?;
    let sample = |(index, answer): (usize, TextOrParts)| {
        let response = answer.text(&format!("{answers_path}[{index}]"))?;
        Ok(Sample { images: images.clone(), ..Sample::new(question.clone(), response) })
    };
    answers.into_iter().enumerate().map(sample).collect()
}

impl ScoreBody {
    fn samples(self) -> Result<Vec<Sample>, ApiError> {
        let (queries, documents) = (self.queries.into_vec(), self.documents.into_vec());
        let (questions, answers) = (queries.len(), documents.len());
        let mut queries = queries.into_iter();
        if questions == 1
            && let Some(question) = queries.next()
        {
            return samples(question, documents, ("queries", "documents"));
        }
        if questions != answers {
            let message = format!("There are {questions} questions and {answers} answers.");
            return Err(ApiError::invalid("documents", message));
        }
        let pairs = queries.zip(documents).enumerate().map(|(index, (question, answer))| {
            let (question, images) = question.read(&format!("queries[{index}]"))?;
            let response = answer.text(&format!("documents[{index}]"))?;
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
    request_body = ScoreBody,
    responses(
        (status = 200, content((ScoreResponse = "application/json"), (GenerativeResponse = "application/json"))),
        (status = 400, description = "The pairs make no sense.", body = ErrorBody),
        (status = 503, description = "Too many requests wait; see `Retry-After`.", body = ErrorBody)
    )
)]
pub(super) async fn score(scorer: Scorer, body: JsonBytes) -> Result<Response, ApiError> {
    if let Ok(body) = body.parse::<GenerativeBody>(StatusCode::BAD_REQUEST) {
        return Ok(Json(generative::probabilities(&scorer, body).await?).into_response());
    }
    let mut body: ScoreBody = body.parse(StatusCode::BAD_REQUEST)?;
    let model = body.model.take().unwrap_or_else(|| scorer.model().to_owned());
    let scored = scorer.score(body.samples()?, |index| format!("documents[{index}]")).await?;
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
    Ok(Json(response).into_response())
}
