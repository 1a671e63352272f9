//! Scores of pairs of texts, as vLLM has them: how well does the second answer the first?

use std::sync::Arc;

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize, de::IgnoredAny};
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

/// Pairs to score: one question with many answers, or as many of each. Two members hold them, by one of these pairs of names.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ScoreBody {
    /// Any name.
    model: Option<String>,
    /// The questions, with images among their parts.
    queries: Option<OneOrMany<TextOrParts>>,
    /// The answers to `queries`.
    documents: Option<OneOrMany<TextOrParts>>,
    /// The same.
    items: Option<OneOrMany<TextOrParts>>,
    /// The questions.
    data_1: Option<OneOrMany<TextOrParts>>,
    /// The answers to `data_1`.
    data_2: Option<OneOrMany<TextOrParts>>,
    /// The questions.
    text_1: Option<OneOrMany<TextOrParts>>,
    /// The answers to `text_1`.
    text_2: Option<OneOrMany<TextOrParts>>,
}

/// The members in which questions and answers stand.
type Names = (&'static str, &'static str);

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
    /// What the body is: its tokens alone tell SGLang's form from the others.
    fn read(body: &JsonBytes) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Told {
            label_token_ids: Option<IgnoredAny>,
        }
        match body.parse::<Told>()?.label_token_ids {
            Some(_) => body.parse().map(Self::Tokens),
            None => body.parse().map(Self::Answers),
        }
    }
}

/// What is asked for, with its images.
enum Asked {
    /// How probable tokens are.
    Tokens(GenerativeBody),
    /// Scores of samples, whose answers stand in the member of this name, by a critic of that.
    Answers(String, Vec<Sample>, &'static str),
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
    let question: Arc<str> = question.into();
    let sample = |(index, answer): (usize, TextOrParts)| {
        let response = answer.text(&format!("{answers_path}[{index}]"), reader)?;
        Ok(Sample { images: images.clone(), ..Sample::new(Arc::clone(&question), response) })
    };
    answers.into_iter().enumerate().map(sample).collect()
}

impl ScoreBody {
    /// Questions, answers, and the names that they have.
    fn sides(self) -> Result<(Vec<TextOrParts>, Vec<TextOrParts>, Names), ApiError> {
        let Self { model: _, queries, documents, items, data_1, data_2, text_1, text_2 } = self;
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

    /// The pairs, and the name of the member in which the answers stand.
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
            let (question, images) = question.read(&format!("{}[{index}]", names.0), reader)?;
            let response = answer.text(&format!("{}[{index}]", names.1), reader)?;
            Ok(Sample { images, ..Sample::new(question, response) })
        });
        Ok((pairs.collect::<Result<_, ApiError>>()?, names.1))
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
            let (samples, name) = body.samples(reader)?;
            Ok(Asked::Answers(model, samples, name))
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
        created: now(),
        model,
        usage: ScoreUsage::of(&scored),
        data: scored.iter().enumerate().map(score).collect(),
    };
    Ok(Json(ScoredBody::Answers(response)))
}
