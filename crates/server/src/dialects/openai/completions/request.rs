//! The body of a request to `/v1/completions`.

use std::collections::HashMap;

use judge::{CompletionParams, RawPrompt, TokenId};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    dialects::{
        generation::{
            continuation::{Continuation, Prompts},
            sampling::{Sampling, Stop, TokenLimit},
            shape::{self, ConstraintParams, RequestedShape, StructuredOutputs},
            text_counts::{StreamOptions, TextCounts},
        },
        values::{in_range, lenient},
    },
    error::{ApiError, ErrorCode},
};

/// The default of `max_tokens`, as clients of this older interface expect.
const DEFAULT_MAX_TOKENS: usize = 16;

/// Text to continue. It is not put into the chat format, and nothing in it is parsed as a control token.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::dialects::openai) struct CompletionBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones. It is returned in the response;
    /// `system_fingerprint` names the checkpoint.
    #[serde(default, deserialize_with = "lenient")]
    model: Option<String>,
    /// A text, token ids of the critic's vocabulary, or a list of either.
    prompt: CompletionPrompt,
    /// Whether the returned text begins with the prompt. Not with `logprobs`.
    #[serde(default, deserialize_with = "lenient")]
    echo: Option<bool>,
    /// Maximum number of tokens to write; a value above the remaining context means all of it.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, default = 16)]
    max_tokens: Option<i64>,
    /// Number of texts to return for each prompt. A request may generate at most 128 texts for all prompts together.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, maximum = 128, default = 1)]
    n: Option<i64>,
    /// Number of texts to generate, of which the `n` with the highest mean log-probability are returned; by default
    /// `n`. Not with `stream`.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, maximum = 128)]
    best_of: Option<i64>,
    /// Number of most probable tokens to return at each position, with log-probabilities computed from the raw
    /// logits.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0, maximum = 5)]
    logprobs: Option<i64>,
    /// Temperature of sampling; 0 is greedy.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 2.0, default = 0.0)]
    temperature: Option<f64>,
    /// Draws only from the smallest set of tokens whose probabilities reach this sum.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 1.0, default = 1.0)]
    top_p: Option<f64>,
    /// Draws only from this many most probable tokens; 0 and -1 mean all. An extension.
    #[serde(default, deserialize_with = "lenient")]
    top_k: Option<i64>,
    /// Penalty on tokens already written, above 0; 1 means none. By default that of the checkpoint. An extension.
    #[serde(default, deserialize_with = "lenient")]
    repetition_penalty: Option<f64>,
    /// Subtracted from the logit of each token that was already written.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = -2.0, maximum = 2.0, default = 0.0)]
    presence_penalty: Option<f64>,
    /// Subtracted from a token's logit once for each time that it was written.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = -2.0, maximum = 2.0, default = 0.0)]
    frequency_penalty: Option<f64>,
    /// Added to the logits of tokens, by token id; at most 300, each from -100 to 100.
    #[serde(default)]
    logit_bias: Option<HashMap<String, f64>>,
    /// Draws only from tokens with at least this fraction of the most probable token's probability. An extension.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 1.0, default = 0.0)]
    min_p: Option<f64>,
    /// Minimum number of tokens before the text may end. An extension.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0, default = 0)]
    min_tokens: Option<i64>,
    /// Seed of the random numbers; if absent, a random one. Text i, counted over all prompts, uses the seed plus i.
    #[serde(default, deserialize_with = "lenient")]
    seed: Option<i64>,
    /// Up to four strings, of at most 64 bytes each, that end the text and are not part of it.
    #[serde(default)]
    stop: Option<Stop>,
    /// Whether the text is sent as server-sent events while it is written.
    #[serde(default, deserialize_with = "lenient")]
    stream: Option<bool>,
    /// Options of the stream.
    stream_options: Option<StreamOptions>,
    /// Whether to write until the maximum number of tokens, ignoring end tokens. An extension.
    #[serde(default, deserialize_with = "lenient")]
    ignore_eos: Option<bool>,
    /// Whether control tokens are left out of the text; by default `true`. An extension.
    #[serde(default, deserialize_with = "lenient")]
    skip_special_tokens: Option<bool>,
    /// A JSON schema for the text. An extension.
    #[serde(default)]
    guided_json: Option<Value>,
    /// Texts of which the completion is one. An extension.
    #[serde(default)]
    guided_choice: Option<Vec<String>>,
    /// A regular expression that the whole text matches. An extension.
    #[serde(default)]
    guided_regex: Option<String>,
    /// The same as `guided_regex`. An extension.
    #[serde(default)]
    regex: Option<String>,
    /// The same constraints in one object. An extension.
    #[serde(default)]
    structured_outputs: Option<StructuredOutputs>,
    /// Restricts the sharing of cached prompts to requests of the same key with the same salt, of up to 256 bytes. An
    /// extension.
    #[serde(default, deserialize_with = "lenient")]
    cache_salt: Option<String>,
}

/// One prompt or several, as text or as token ids.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum CompletionPrompt {
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// The token ids of one prompt.
    Tokens(Vec<u32>),
    /// The token ids of several prompts.
    TokenLists(Vec<Vec<u32>>),
}

impl CompletionPrompt {
    fn into_prompts(self) -> Vec<RawPrompt> {
        let tokens = |ids: Vec<u32>| RawPrompt::Tokens(ids.into_iter().map(TokenId).collect());
        match self {
            Self::Text(text) => vec![RawPrompt::Text(text)],
            Self::Texts(texts) => texts.into_iter().map(RawPrompt::Text).collect(),
            Self::Tokens(ids) => vec![tokens(ids)],
            Self::TokenLists(lists) => lists.into_iter().map(tokens).collect(),
        }
    }
}

/// A validated request.
pub(super) struct CompletionRequest {
    pub(super) continuation: Continuation,
    /// The salt that restricts cache sharing.
    pub(super) cache_salt: Option<String>,
    /// Whether log-probabilities are returned.
    pub(super) logprobs: bool,
    pub(super) echo: bool,
    /// The model's name in the request.
    pub(super) model: Option<String>,
    /// Set for a streamed response.
    pub(super) stream: Option<StreamOptions>,
}

impl CompletionBody {
    /// Validates the body; ids of tokens must be below `vocabulary`.
    pub(super) fn into_request(self, vocabulary: usize) -> Result<CompletionRequest, ApiError> {
        let stream = self.stream.unwrap_or_default().then(|| self.stream_options.unwrap_or_default());
        let texts = TextCounts::new(self.n, self.best_of, stream)?;
        let shape = self.shape()?;
        let echo = self.echo.unwrap_or_default();
        if echo && self.logprobs.is_some() {
            let message = "This server does not offer the probabilities of a prompt's tokens: give echo or \
                logprobs. To compare given continuations, send them as the labels of a question to /v1/decisions, or \
                their first tokens as label_token_ids to /score.";
            return Err(ApiError::invalid("echo", message).with_code(ErrorCode::UnsupportedParameter));
        }
        let top = self.logprobs.map(|top| in_range("logprobs", top, 0..=5)).transpose()?;
        let top_logprobs = top.or(texts.selects_best().then_some(0));
        let params = CompletionParams { top_logprobs, ..self.sampling().params(vocabulary)? };
        let prompts = Prompts { all: self.prompt.into_prompts(), param: "prompt" };
        Ok(CompletionRequest {
            continuation: Continuation::new(prompts, params, texts, shape)?,
            cache_salt: self.cache_salt,
            logprobs: top.is_some(),
            echo,
            model: self.model,
            stream,
        })
    }

    /// How the text is sampled.
    fn sampling(&self) -> Sampling<'_> {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias.as_ref(),
            seed: self.seed,
            stop: self.stop.as_ref(),
            min_tokens: self.min_tokens,
            max_tokens: TokenLimit {
                param: "max_tokens",
                value: self.max_tokens,
                default: DEFAULT_MAX_TOKENS,
            },
            ignore_eos: self.ignore_eos,
            skip_special_tokens: self.skip_special_tokens,
        }
    }

    /// The shape of the texts.
    fn shape(&self) -> Result<Option<RequestedShape>, ApiError> {
        let constraints = ConstraintParams {
            guided_json: self.guided_json.as_ref(),
            guided_choice: self.guided_choice.as_ref(),
            guided_regex: self.guided_regex.as_ref(),
            regex: self.regex.as_ref(),
            structured_outputs: self.structured_outputs.as_ref(),
        };
        shape::single(constraints.shapes()?)
    }
}
