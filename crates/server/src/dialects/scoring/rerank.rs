//! Rankings of answers to one question, in the shapes of vLLM, Cohere, Jina, text-embeddings-inference and SGLang.

use axum::{
    Json,
    extract::OriginalUri,
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    classify::ScoreUsage,
    examples,
    failures::Failures,
    sample::TextOrParts,
    score,
    scorer::{ScoreQuery, Scorer},
    tei::{self, TeiError},
};
use crate::{
    dialects::null_as_default,
    error::{ApiError, ErrorBody},
    json_body::JsonBytes,
    request_id,
};

/// A question and answers to rank.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RerankBody {
    /// Any name.
    model: Option<String>,
    /// The question, with images among its parts.
    query: TextOrParts,
    /// The answers.
    documents: Option<Vec<TextOrParts>>,
    /// The same in the shape of text-embeddings-inference, which is answered in that shape.
    texts: Option<Vec<TextOrParts>>,
    /// How many of the best to tell; 0 for all.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    top_n: usize,
    /// Whether answers are told, too.
    #[serde(alias = "return_text")]
    return_documents: Option<bool>,
}

/// A ranking, best first, in a shape that the clients of vLLM, Cohere and Jina read alike.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RerankResponse {
    /// Another one for each response.
    id: String,
    /// Always `list`.
    object: &'static str,
    /// The name that the request used, or that of the checkpoint.
    model: String,
    /// Tokens read.
    usage: ScoreUsage,
    /// The answers, best first.
    results: Vec<Ranked>,
    /// The version of Cohere's interface and its units of billing, which its clients look for.
    #[schema(value_type = Object)]
    meta: Value,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum RankingBody {
    /// Of `documents`.
    Ranking(RerankResponse),
    /// Of `texts`, best first.
    Texts(Vec<RankedText>),
}

/// An answer in the ranking of text-embeddings-inference.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RankedText {
    /// Its place in the request.
    index: usize,
    /// Its reward.
    score: f64,
    /// The answer, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// An answer in the ranking.
#[derive(Debug, Serialize, ToSchema)]
struct Ranked {
    /// Its place in the request.
    index: usize,
    /// Its reward.
    relevance_score: f64,
    /// The same, where other clients look for it.
    score: f64,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<RankedDocument>,
}

/// An answer as it was given.
#[derive(Debug, Serialize, ToSchema)]
struct RankedDocument {
    /// Its text.
    text: String,
}

/// What is asked for beside the samples.
struct Asked {
    model: String,
    /// The member that the answers stood in.
    name: &'static str,
    top_n: usize,
    return_documents: Option<bool>,
}

/// Rank answers to a question.
///
/// Each is scored alone, so that the score of one does not depend on the others. With `texts` the answer is a bare list, as
/// text-embeddings-inference gives it, and so is a failure.
#[utoipa::path(
    post,
    path = "/rerank",
    tag = "scoring",
    params(ScoreQuery),
    request_body(
        content = RerankBody,
        examples(
            ("documents" = (value = json!(examples::rerank()))),
            ("texts" = (value = json!(examples::rerank_texts())))
        )
    ),
    responses(
        (
            status = 200,
description = "The ranking, best first.",
            body = RankingBody,
            examples(
                ("documents" = (value = json!(examples::rerank_answer()))),
                ("texts" = (value = json!(examples::rerank_texts_answer())))
            )
        ),
        (status = 400, description = "The question or an answer makes no sense.", body = ErrorBody),
        (status = 422, description = "The same, with `texts`.", body = TeiError),
        (status = 424, description = "The model failed, with `texts`.", body = TeiError),
        (status = 429, description = "Too many requests wait, with `texts`; see `Retry-After`.", body = TeiError),
        Failures
    )
)]
pub(super) async fn rerank(scorer: Scorer, OriginalUri(uri): OriginalUri, body: JsonBytes) -> Response {
    match ranked(&scorer, &uri, &body).await {
        Ok(body) => Json(body).into_response(),
        Err(error) if tei::is_spoken(&body) => tei::told(error),
        Err(error) => error.into_response(),
    }
}

async fn ranked(scorer: &Scorer, uri: &Uri, body: &JsonBytes) -> Result<RankingBody, ApiError> {
    let read = scorer.with_images(|reader| {
        let mut body: RerankBody = body.parse()?;
        let model = scorer.told(body.model.take())?;
        let (answers, name) = match (body.documents, body.texts) {
            (Some(documents), None) => (documents, "documents"),
            (None, Some(texts)) if texts.is_empty() => return Err(tei::empty("texts")),
            (None, Some(texts)) => (texts, "texts"),
            _ => return Err(ApiError::invalid("documents", "Give one of documents and texts.")),
        };
        let samples = score::samples(body.query, answers, ("query", name), reader)?;
        Ok((samples, Asked { model, name, top_n: body.top_n, return_documents: body.return_documents }))
    });
    let (samples, Asked { model, name, top_n, return_documents }) = read.await?;
    let texts: Vec<String> = samples.iter().map(|sample| sample.response.clone()).collect();
    let scored = scorer.score(samples, |index| format!("{name}[{index}]")).await?;
    let mut ranking: Vec<usize> = (0..scored.len()).collect();
    // Answers of the same score stay in their order.
    ranking.sort_by(|one, other| scored[*other].reward.total_cmp(&scored[*one].reward));
    if top_n > 0 {
        ranking.truncate(top_n);
    }
    if name == "texts" {
        let told = return_documents.unwrap_or(false);
        let one = |index: usize| RankedText {
            index,
            score: scored[index].reward,
            text: told.then(|| texts[index].clone()),
        };
        return Ok(RankingBody::Texts(ranking.into_iter().map(one).collect()));
    }
    // Cohere's second version tells no texts unless they are asked for; the others do.
    let told = return_documents.unwrap_or(uri.path().trim_end_matches('/') != "/v2/rerank");
    let ranked = |index: usize| Ranked {
        index,
        relevance_score: scored[index].reward,
        score: scored[index].reward,
        document: told.then(|| RankedDocument { text: texts[index].clone() }),
    };
    Ok(RankingBody::Ranking(RerankResponse {
        id: format!("rerank-{}", request_id::fresh_id()),
        object: "list",
        model,
        usage: ScoreUsage::of(&scored),
        results: ranking.into_iter().map(ranked).collect(),
        meta: json!({ "api_version": { "version": "2" }, "billed_units": { "search_units": 1 } }),
    }))
}
