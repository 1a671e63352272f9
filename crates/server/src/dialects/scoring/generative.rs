//! Generative scoring of vLLM and SGLang: the probabilities of tokens after a text.

use std::collections::{BTreeMap, HashSet};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use judge::{RawPrompt, TokenId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    bodies::TokensRead,
    choices::{self, Chooser},
    examples,
    scorer::Scorer,
};
use crate::{
    dialects::{null_as_default, parameters},
    error::{ApiError, Dialect, ErrorBody, ErrorCode, ScoringErrors},
    extract::json_body::JsonBytes,
    process::clock::unix_seconds,
    request::id,
};

/// The members that are read of a body.
const KNOWN_MEMBERS: [&str; 8] = [
    "model",
    "query",
    "items",
    "label_token_ids",
    "apply_softmax",
    "temperature",
    "return_token_logprobs",
    "item_first",
];

/// Texts with a common part, and the tokens that may follow them. Texts are not put into the chat format.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct GenerativeBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// The part that all texts have in common.
    query: ScoredQuery,
    /// The part that differs between the texts.
    items: ScoredItems,
    /// Token ids of the critic's vocabulary: one list for all texts, or one for each.
    label_token_ids: LabelTokens,
    /// Whether probabilities are normalised over these tokens; otherwise they are those over the whole vocabulary.
    /// The default is that of the server whose route it is: `false` at `/score` (SGLang), `true` at
    /// `/generative_scoring` (vLLM).
    apply_softmax: Option<bool>,
    /// The temperature by which differences between logits are divided before probabilities over these tokens are
    /// computed; 1 if absent. Any other needs `apply_softmax`.
    temperature: Option<f64>,
    /// Whether to return also the logarithms of the tokens' probabilities over the whole vocabulary, at temperature
    /// 1.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    return_token_logprobs: bool,
    /// Whether the differing part comes before the common one.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    item_first: bool,
}

/// The tokens whose probabilities are returned.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged)]
enum LabelTokens {
    /// The same tokens for all texts.
    ForAll(Vec<u32>),
    /// A list for each text.
    ForEach(Vec<Vec<u32>>),
}

/// The part that all texts have in common.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum ScoredQuery {
    /// Text, in which nothing is parsed as a control token.
    Text(String),
    /// Token ids of the critic's vocabulary.
    Tokens(Vec<u32>),
}

/// The part that differs between the texts, in the same form as the query.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum ScoredItems {
    /// A single text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// The token ids of each text.
    Tokens(Vec<Vec<u32>>),
}

/// Bytes of a token in memory.
const TOKEN_BYTES: usize = size_of::<TokenId>();

impl ScoredQuery {
    /// Its size in memory.
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Tokens(tokens) => tokens.len() * TOKEN_BYTES,
        }
    }
}

impl ScoredItems {
    /// The size in memory of the longest of them.
    fn longest(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(String::len).max().unwrap_or_default(),
            Self::Tokens(lists) => lists.iter().map(Vec::len).max().unwrap_or_default() * TOKEN_BYTES,
        }
    }
}

/// The probabilities of the tokens after each text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GenerativeResponse {
    /// For each text, the probabilities in the order of `label_token_ids`.
    scores: Vec<Vec<f64>>,
    /// In the same order, the natural logarithms of the tokens' probabilities over the whole vocabulary, with
    /// `return_token_logprobs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_logprobs: Option<Vec<Vec<f32>>>,
    /// The model's name in the request, or that of the checkpoint.
    model: String,
    /// Always `scoring`.
    object: &'static str,
    /// Token counts.
    usage: TokensRead,
}

/// The probability of the first token after each text, in vLLM's form.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FirstTokens {
    /// A unique id of the response.
    id: String,
    /// Always `list`.
    object: &'static str,
    /// When it was created, in seconds since 1970.
    created: u64,
    /// The model's name in the request, or that of the checkpoint.
    model: String,
    /// The probabilities in the order of the texts.
    data: Vec<FirstToken>,
    /// The probabilities of all tokens of `label_token_ids`, in the order of the texts.
    results: Vec<TokenProbabilities>,
    /// Token counts.
    usage: TokensRead,
}

/// The probabilities of tokens after a text.
#[derive(Debug, Serialize, ToSchema)]
struct TokenProbabilities {
    /// Index of the text in the request, from 0.
    index: usize,
    /// The probabilities by token id.
    token_probs: BTreeMap<String, f64>,
}

/// The probability of the first token.
#[derive(Debug, Serialize, ToSchema)]
struct FirstToken {
    /// Index of the text in the request, from 0.
    index: usize,
    /// Always `score`.
    object: &'static str,
    /// The probability of the first of `label_token_ids` after the text.
    score: f64,
}

/// The most probabilities of an answer: each takes a few dozen bytes in it, and a body of a hundred kilobytes could ask
/// for tens of millions.
const MAX_PROBABILITIES: usize = 1 << 18;

/// The tokens at `path`, which must be known and distinct, and at least one.
fn distinct(scorer: &Scorer, tokens: Vec<u32>, path: &str) -> Result<Vec<TokenId>, ApiError> {
    let mut seen = HashSet::new();
    if tokens.is_empty() || !tokens.iter().all(|token| seen.insert(*token)) {
        let message = format!("{path} must have at least one token, and each of them once.");
        return Err(ApiError::invalid(path, message));
    }
    known(scorer, tokens, path)
}

/// The tokens at `path`, if the critic has them.
fn known(scorer: &Scorer, tokens: Vec<u32>, path: &str) -> Result<Vec<TokenId>, ApiError> {
    let known = scorer.judge().known(tokens.into_iter().map(TokenId).collect());
    known.map_err(|error| ApiError::from_judge(error, Dialect::Native).with_param(path))
}

impl LabelTokens {
    /// The name of the member with the tokens.
    const NAME: &'static str = "label_token_ids";

    /// The tokens of the text at `index`; none if there is no such text.
    fn of_text(&self, index: usize) -> &[u32] {
        match self {
            Self::ForAll(tokens) => tokens,
            Self::ForEach(lists) => lists.get(index).map_or(&[][..], Vec::as_slice),
        }
    }

    /// The tokens of each of `count` texts.
    fn into_lists(
        self,
        count: usize,
        scorer: &Scorer,
    ) -> Result<Box<dyn Iterator<Item = Vec<TokenId>> + Send>, ApiError> {
        let all = match &self {
            Self::ForAll(tokens) => tokens.len().saturating_mul(count),
            Self::ForEach(lists) => lists.iter().map(Vec::len).sum(),
        };
        if all > MAX_PROBABILITIES {
            let message = format!(
                "{} asks for {all} probabilities in all; one answer has at most {MAX_PROBABILITIES}.",
                Self::NAME
            );
            return Err(ApiError::invalid(Self::NAME, message).with_code(ErrorCode::ArrayTooLong));
        }
        match self {
            Self::ForAll(tokens) => {
                let tokens = distinct(scorer, tokens, Self::NAME)?;
                Ok(Box::new(std::iter::repeat_n(tokens, count)))
            }
            Self::ForEach(lists) if lists.len() == count => {
                let lists = lists.into_iter().enumerate();
                let lists = lists
                    .map(|(index, tokens)| distinct(scorer, tokens, &format!("{}[{index}]", Self::NAME)));
                Ok(Box::new(lists.collect::<Result<Vec<_>, _>>()?.into_iter()))
            }
            Self::ForEach(lists) => {
                let message = format!(
                    "{} must be a list of tokens, or have one for each item: {count} in all, not {}.",
                    Self::NAME,
                    lists.len()
                );
                Err(ApiError::invalid(Self::NAME, message))
            }
        }
    }
}

/// The tokens over which probabilities are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NormalisedOver {
    /// Those whose probabilities are requested.
    Labels,
    /// All tokens.
    Vocabulary,
}

impl NormalisedOver {
    /// What `apply_softmax` of a body asks for; without it, `self`.
    fn or_asked(self, apply_softmax: Option<bool>) -> Self {
        match apply_softmax {
            Some(true) => Self::Labels,
            Some(false) => Self::Vocabulary,
            None => self,
        }
    }
}

/// The order of the two parts of a text.
#[derive(Debug, Clone, Copy)]
enum Order {
    QueryFirst,
    ItemFirst,
}

/// The texts of a body, each created when it is needed.
fn prompts(
    scorer: &Scorer,
    query: ScoredQuery,
    items: ScoredItems,
    order: Order,
) -> Result<Box<dyn ExactSizeIterator<Item = RawPrompt> + Send>, ApiError> {
    let (query, items) = match (query, items) {
        (ScoredQuery::Text(query), ScoredItems::Text(item)) => (query, vec![item]),
        (ScoredQuery::Text(query), ScoredItems::Texts(items)) => (query, items),
        (ScoredQuery::Tokens(query), ScoredItems::Tokens(items)) => {
            let query = known(scorer, query, "query")?;
            let items = items.into_iter().enumerate();
            let items = items.map(|(index, item)| known(scorer, item, &format!("items[{index}]")));
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

/// Parses a body and refuses unsupported members.
pub(super) fn read(body: &JsonBytes) -> Result<GenerativeBody, ApiError> {
    let read = body.parse()?;
    parameters::check(body, &KNOWN_MEMBERS)?;
    Ok(read)
}

/// The probabilities of the requested tokens. Those of a body without `apply_softmax` are normalised over `default`.
///
/// # Errors
/// When a part of the body is invalid; as with SGLang, a temperature other than 1 without `apply_softmax` is.
pub(super) async fn probabilities(
    scorer: &Scorer,
    body: GenerativeBody,
    default: NormalisedOver,
) -> Result<GenerativeResponse, ApiError> {
    let model = scorer.response_model(body.model)?;
    let temperature = choices::temperature(body.temperature)?;
    let over = default.or_asked(body.apply_softmax);
    if over == NormalisedOver::Vocabulary && temperature != 1.0 {
        let message =
            "temperature needs apply_softmax: true. It changes probabilities among label_token_ids only.";
        return Err(ApiError::invalid("temperature", message));
    }
    let order = if body.item_first { Order::ItemFirst } else { Order::QueryFirst };
    let longest = body.query.bytes() + body.items.longest();
    let prompts = prompts(scorer, body.query, body.items, order)?;
    let labels = body.label_token_ids.into_lists(prompts.len(), scorer)?;
    let chooser = Chooser { scorer, temperature };
    let texts = chooser.next_tokens(prompts.zip(labels), longest).await?;
    let scores = texts.iter().map(|text| {
        let mass = match over {
            NormalisedOver::Labels => 1.0,
            NormalisedOver::Vocabulary => text.label_mass,
        };
        text.probabilities.iter().map(|probability| probability * mass).collect()
    });
    let logprobs = || texts.iter().map(|text| text.logprobs.clone()).collect();
    Ok(GenerativeResponse {
        scores: scores.collect(),
        token_logprobs: body.return_token_logprobs.then(logprobs),
        model,
        object: "scoring",
        usage: TokensRead::of(texts.iter().map(|text| text.usage)),
    })
}

/// Return the probability of the first of some tokens after each text, and those of all of them, in vLLM's
/// interface.
#[utoipa::path(
    post,
    path = "/generative_scoring",
    tag = "scoring",
    request_body(content = GenerativeBody, example = json!(examples::first_tokens())),
    responses(
        (status = 200, description = "The probabilities, in order.", body = FirstTokens, example = json!(examples::first_tokens_answer())),
        (status = 400, description = "The texts or tokens are invalid.", body = ErrorBody),
        ScoringErrors
    )
)]
pub(super) async fn first_tokens(scorer: Scorer, body: JsonBytes) -> Result<Response, ApiError> {
    let (body, _memory) = (read(&body)?, body.into_memory());
    if body.return_token_logprobs {
        return Err(parameters::unsupported("return_token_logprobs"));
    }
    let labels = body.label_token_ids.clone();
    let GenerativeResponse { scores, model, usage, .. } =
        probabilities(&scorer, body, NormalisedOver::Labels).await?;
    let first = |(index, scores): (usize, &Vec<f64>)| FirstToken { index, object: "score", score: scores[0] };
    let all = |(index, scores): (usize, &Vec<f64>)| TokenProbabilities {
        index,
        token_probs: labels.of_text(index).iter().map(u32::to_string).zip(scores.iter().copied()).collect(),
    };
    let response = FirstTokens {
        id: format!("generative-score-{}", id::fresh_id()),
        object: "list",
        created: unix_seconds(),
        model,
        data: scores.iter().enumerate().map(first).collect(),
        results: scores.iter().enumerate().map(all).collect(),
        usage,
    };
    Ok(Json(response).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_those_of_the_schema() {
        parameters::assert_covers::<GenerativeBody>(&KNOWN_MEMBERS, &[]);
    }
}
