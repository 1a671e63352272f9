//! The probabilities of tokens after a text, as vLLM's and SGLang's generative scoring has them.

use std::collections::HashSet;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use judge::{RawPrompt, TokenId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{choices::Chooser, examples, failures::Failures, scorer::Scorer};
use crate::{
    dialects::{null_as_default, openai::now},
    error::{ApiError, Dialect, ErrorBody},
    json_body::JsonBytes,
    request_id,
};

/// A text with several ends, and the tokens of which one should follow. It is not put into the chat format.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct GenerativeBody {
    /// Any name.
    model: Option<String>,
    /// What all texts have in common.
    query: ScoredQuery,
    /// What each of them has of its own.
    items: ScoredItems,
    /// Tokens of this critic's vocabulary.
    label_token_ids: Vec<u32>,
    /// Whether probabilities are among these tokens alone, which is the default; else among all there are.
    apply_softmax: Option<bool>,
    /// Whether what is common comes last.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    item_first: bool,
}

/// What texts have in common.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum ScoredQuery {
    /// As text, in which nothing is a control token.
    Text(String),
    /// As tokens of this critic's vocabulary.
    Tokens(Vec<u32>),
}

/// What each text has of its own, in the form of the query.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum ScoredItems {
    /// A single text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// Tokens of each.
    Tokens(Vec<Vec<u32>>),
}

/// For each text the probabilities of the tokens, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GenerativeResponse {
    /// For each text the probabilities, in the order of `label_token_ids`.
    scores: Vec<Vec<f64>>,
    /// The name that the request used, or that of the checkpoint.
    model: String,
    /// Always `scoring`.
    object: &'static str,
    /// Tokens read.
    usage: TokensRead,
}

/// Tokens that were read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokensRead {
    /// Tokens of all texts.
    pub(super) prompt_tokens: usize,
    /// The same: nothing is written.
    pub(super) total_tokens: usize,
}

/// For each text the probability of the first token, in vLLM's shape.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FirstTokens {
    /// Another one for each response.
    id: String,
    /// Always `list`.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// The name that the request used, or that of the checkpoint.
    model: String,
    /// The probabilities in the order of the texts.
    data: Vec<FirstToken>,
    /// Tokens read.
    usage: TokensRead,
}

/// The probability of the first token.
#[derive(Debug, Serialize, ToSchema)]
struct FirstToken {
    /// The text's place in the request.
    index: usize,
    /// Always `score`.
    object: &'static str,
    /// How probable the first of `label_token_ids` is after it.
    score: f64,
}

/// Tokens of which each is told apart from the others.
fn distinct(tokens: Vec<u32>) -> Result<Vec<u32>, ApiError> {
    let mut known = HashSet::new();
    if tokens.is_empty() || !tokens.iter().all(|token| known.insert(token)) {
        let message = "label_token_ids must have at least one token, and each of them once.";
        return Err(ApiError::invalid("label_token_ids", message));
    }
    Ok(tokens)
}

/// What comes first in a text.
#[derive(Debug, Clone, Copy)]
enum Order {
    QueryFirst,
    ItemFirst,
}

/// The texts of which a body speaks, each made when its turn comes.
fn prompts(
    scorer: &Scorer,
    body: (ScoredQuery, ScoredItems, Order),
) -> Result<Box<dyn Iterator<Item = RawPrompt> + Send>, ApiError> {
    let (query, items, order) = body;
    let known = |tokens: Vec<u32>, path: &str| {
        let known = scorer.judge().known(tokens.into_iter().map(TokenId).collect());
        known.map_err(|error| ApiError::from_judge(error, Dialect::Native).with_param(path))
    };
    let (query, items) = match (query, items) {
        (ScoredQuery::Text(query), ScoredItems::Text(item)) => (query, vec![item]),
        (ScoredQuery::Text(query), ScoredItems::Texts(items)) => (query, items),
        (ScoredQuery::Tokens(query), ScoredItems::Tokens(items)) => {
            let query = known(query, "query")?;
            let items = items.into_iter().enumerate();
            let items = items.map(|(index, item)| known(item, &format!("items[{index}]")));
            let items = items.collect::<Result<Vec<_>, _>>()?;
            return Ok(Box::new(items.into_iter().map(move |item| {
                RawPrompt::Tokens(match order {
                    Order::QueryFirst => [&query[..], &item].concat(),
                    Order::ItemFirst => [&item[..], &query].concat(),
                })
            })));
        }
        (ScoredQuery::Text(_), ScoredItems::Tokens(_))
        | (ScoredQuery::Tokens(_), ScoredItems::Text(_) | ScoredItems::Texts(_)) => {
            return Err(ApiError::invalid("items", "query and items must both be text, or both tokens."));
        }
    };
    Ok(Box::new(items.into_iter().map(move |item| {
        RawPrompt::Text(match order {
            Order::QueryFirst => format!("{query}{item}"),
            Order::ItemFirst => format!("{item}{query}"),
        })
    })))
}

/// The probabilities of the tokens that are asked for.
pub(super) async fn probabilities(
    scorer: &Scorer,
    body: GenerativeBody,
) -> Result<GenerativeResponse, ApiError> {
    let chooser = Chooser::new(scorer, Vec::new());
    let (mut scores, mut prompt_tokens) = (Vec::new(), 0);
    let model = scorer.told(body.model)?;
    let labels = distinct(body.label_token_ids)?.into_iter().map(TokenId).collect();
    let order = if body.item_first { Order::ItemFirst } else { Order::QueryFirst };
    let prompts = prompts(scorer, (body.query, body.items, order))?;
    for (index, found) in chooser.follow_all(prompts, labels).await?.into_iter().enumerate() {
        if found.probabilities.is_empty() {
            return Err(ApiError::invalid(format!("items[{index}]"), "Nothing can follow this."));
        }
        let part = if body.apply_softmax.unwrap_or(true) { 1.0 } else { found.label_mass };
        scores.push(found.probabilities.iter().map(|probability| probability * part).collect());
        prompt_tokens += found.usage.prompt_tokens;
    }
    let usage = TokensRead { prompt_tokens, total_tokens: prompt_tokens };
    Ok(GenerativeResponse { scores, model, object: "scoring", usage })
}

/// Tell how probable the first of some tokens is after each of some texts, as vLLM's clients ask.
#[utoipa::path(
    post,
    path = "/generative_scoring",
    tag = "scoring",
    request_body(content = GenerativeBody, example = json!(examples::first_tokens())),
    responses(
        (status = 200, description = "The probabilities, in order.", body = FirstTokens, example = json!(examples::first_tokens_answer())),
        (status = 400, description = "The texts or tokens make no sense.", body = ErrorBody),
        Failures
    )
)]
pub(super) async fn first_tokens(scorer: Scorer, body: JsonBytes) -> Result<Response, ApiError> {
    let GenerativeResponse { scores, model, usage, .. } = probabilities(&scorer, body.parse()?).await?;
    let first = |(index, scores): (usize, Vec<f64>)| FirstToken { index, object: "score", score: scores[0] };
    let data = scores.into_iter().enumerate().map(first).collect();
    let id = format!("generative-score-{}", request_id::fresh_id());
    Ok(Json(FirstTokens { id, object: "list", created: now(), model, data, usage }).into_response())
}
