//! Rankings of answers to one question, in the shapes of vLLM, Cohere, Jina, text-embeddings-inference and SGLang.

use axum::{
    Json,
    extract::OriginalUri,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    sample::TextOrParts,
    score,
    scorer::{ScoreQuery, Scored, Scorer},
};
use crate::{
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
    #[serde(default)]
    top_n: usize,
    /// Whether answers are told, too.
    #[serde(alias = "return_text")]
    return_documents: Option<bool>,
}

/// A ranking, best first, in a shape that the clients of vLLM, Cohere and Jina read alike.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RerankResponse {
    id: String,
    model: String,
    usage: RerankUsage,
    results: Vec<Ranked>,
    #[schema(value_type = Object)]
    meta: Value,
}

/// Tokens read.
#[derive(Debug, Serialize, ToSchema)]
struct RerankUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// An answer in the ranking.
#[derive(Debug, Serialize, ToSchema)]
struct Ranked {
    /// Its place in the request.
    index: usize,
    relevance_score: f64,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<RankedDocument>,
}

/// An answer as it was given.
#[derive(Debug, Serialize, ToSchema)]
struct RankedDocument {
    text: String,
}

/// Rank answers to a question.
///
/// Each is scored alone, so that the score of one does not depend on the others. With `texts` the answer is a bare list, as
/// text-embeddings-inference gives it.
#[utoipa::path(
    post,
    path = "/rerank",
    tag = "scoring",
    params(ScoreQuery),
    request_body = RerankBody,
    responses(
        (status = 200, body = RerankResponse),
        (status = 400, description = "The question or an answer makes no sense.", body = ErrorBody),
        (status = 503, description = "Too many requests wait; see `Retry-After`.", body = ErrorBody)
    )
)]
pub(super) async fn rerank(
    scorer: Scorer,
    OriginalUri(uri): OriginalUri,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let body: RerankBody = body.parse(StatusCode::BAD_REQUEST)?;
    let (answers, name) = match (body.documents, body.texts) {
        (Some(documents), None) => (documents, "documents"),
        (None, Some(texts)) => (texts, "texts"),
        _ => return Err(ApiError::invalid("documents", "Give one of documents and texts.")),
    };
    let samples = score::samples(body.query, answers, ("query", name))?;
    let texts: Vec<String> = samples.iter().map(|sample| sample.response.clone()).collect();
    let scored = scorer.score(samples, |index| format!("{name}[{index}]")).await?;
    let mut ranking: Vec<usize> = (0..scored.len()).collect();
    // Answers of the same score stay in their order.
    ranking.sort_by(|one, other| scored[*other].reward.total_cmp(&scored[*one].reward));
    if body.top_n > 0 {
        ranking.truncate(body.top_n);
    }
    if name == "texts" {
        let told = body.return_documents.unwrap_or(false);
        let one = |index: &usize| {
            let mut ranked = json!({ "index": index, "score": scored[*index].reward });
            if told {
                ranked["text"] = json!(texts[*index]);
            }
            ranked
        };
        return Ok(Json(ranking.iter().map(one).collect::<Vec<_>>()).into_response());
    }
    // Cohere's second version tells no texts unless they are asked for; the others do.
    let told = body.return_documents.unwrap_or(uri.path() != "/v2/rerank");
    let ranked = |index: usize| Ranked {
        index,
        relevance_score: scored[index].reward,
        document: told.then(|| RankedDocument { text: texts[index].clone() }),
    };
    let prompt_tokens = scored.iter().map(|scored: &Scored| scored.usage.prompt_tokens).sum();
    Ok(Json(RerankResponse {
        id: format!("rerank-{}", request_id::fresh_id()),
        model: body.model.unwrap_or_else(|| scorer.model().to_owned()),
        usage: RerankUsage { prompt_tokens, total_tokens: prompt_tokens },
        results: ranking.into_iter().map(ranked).collect(),
        meta: json!({ "api_version": { "version": "2" }, "billed_units": { "search_units": 1 } }),
    })
    .into_response())
}
