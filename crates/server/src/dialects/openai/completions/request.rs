//! The body of a request to continue text, and what it asks for.

use std::collections::HashMap;

use judge::{CompletionParams, RawPrompt, TokenId};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::{
    request::{ChatBody, MAX_TEXTS, Stop, StreamOptions, Texts},
    shape::{self, Asked, Extras, Outputs},
    values::{in_range, lenient},
};
use crate::error::ApiError;

/// Tokens to write when a request does not say, as programs of this older interface expect.
const DEFAULT_MAX_TOKENS: i64 = 16;

/// Text to continue. It is not put into the chat format, and nothing in it is a control token.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::dialects::openai) struct CompletionBody {
    /// Any name; it is echoed, and `system_fingerprint` tells the truth.
    #[serde(default, deserialize_with = "lenient")]
    model: Option<String>,
    /// A text, tokens of the critic's vocabulary, or a list of either.
    prompt: CompletionPrompt,
    /// Whether the prompt stands before what is written.
    #[serde(default, deserialize_with = "lenient")]
    echo: Option<bool>,
    /// Tokens to write at most; more than there is room for means all the room.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, default = 16)]
    max_tokens: Option<i64>,
    /// How many texts are written for each prompt.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, maximum = 128, default = 1)]
    n: Option<i64>,
    /// Of how many texts the `n` are told whose tokens are the most probable in the mean; by default `n`.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, maximum = 128)]
    best_of: Option<i64>,
    /// How many most probable tokens are told beside each that is written, under the raw logits.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0, maximum = 5)]
    logprobs: Option<i64>,
    /// 0, the default, is greedy.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 2.0, default = 0.0)]
    temperature: Option<f32>,
    /// Draw only from the smallest set of tokens whose probability reaches this.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 1.0, default = 1.0)]
    top_p: Option<f32>,
    /// Draw only from this many most probable tokens; 0 and -1 mean all. An extension.
    #[serde(default, deserialize_with = "lenient")]
    top_k: Option<i64>,
    /// Penalty on tokens already written; by default what the checkpoint asks for. An extension.
    #[serde(default, deserialize_with = "lenient")]
    repetition_penalty: Option<f32>,
    /// Subtracted from the logit of each token that was written already.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = -2.0, maximum = 2.0, default = 0.0)]
    presence_penalty: Option<f32>,
    /// Subtracted from a token's logit for each time that it was written.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = -2.0, maximum = 2.0, default = 0.0)]
    frequency_penalty: Option<f32>,
    /// Added to the logits of tokens, by their ids; at most 300, each from -100 to 100.
    #[serde(default)]
    logit_bias: Option<HashMap<String, f32>>,
    /// Draw only from tokens at least this many times as probable as the most probable one. An extension.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 1.0, default = 0.0)]
    min_p: Option<f32>,
    /// Tokens to write at least. An extension.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0, default = 0)]
    min_tokens: Option<i64>,
    /// Start of the random numbers.
    #[serde(default, deserialize_with = "lenient")]
    seed: Option<i64>,
    /// Up to four strings that end the text.
    #[serde(default)]
    stop: Option<Stop>,
    /// Whether the text comes as server-sent events while it is written.
    #[serde(default, deserialize_with = "lenient")]
    stream: Option<bool>,
    /// What comes beside the text.
    stream_options: Option<StreamOptions>,
    /// Write on until the bound of tokens, whatever the critic says. An extension.
    #[serde(default, deserialize_with = "lenient")]
    ignore_eos: Option<bool>,
    /// Whether control tokens are left out of the text, which is the default. An extension.
    #[serde(default, deserialize_with = "lenient")]
    skip_special_tokens: Option<bool>,
    /// A schema for the text. An extension.
    #[serde(default)]
    guided_json: Option<Value>,
    /// Texts of which one is written. An extension.
    #[serde(default)]
    guided_choice: Option<Vec<String>>,
    /// A regular expression that the whole text matches. An extension.
    #[serde(default)]
    guided_regex: Option<String>,
    /// The same. An extension.
    #[serde(default)]
    regex: Option<String>,
    /// The same in one object. An extension.
    #[serde(default)]
    structured_outputs: Option<Outputs>,
    /// Only requests of the same key with the same salt share what is kept of their prompts. An extension.
    #[serde(default, deserialize_with = "lenient")]
    cache_salt: Option<String>,
}

/// One prompt or several, as text or as tokens.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum CompletionPrompt {
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// Tokens.
    Tokens(Vec<u32>),
    /// Tokens of several prompts.
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

/// What a body asks for.
pub(super) struct CompletionRequest {
    pub(super) prompts: Vec<RawPrompt>,
    /// `top_logprobs` is set when the texts are compared, too.
    pub(super) params: CompletionParams,
    /// Texts of each prompt.
    pub(super) texts: Texts,
    /// The shape of the texts.
    pub(super) shape: Option<Asked>,
    /// What divides its caller's caches.
    pub(super) cache_salt: Option<String>,
    /// Whether the probabilities of tokens are told.
    pub(super) logprobs: bool,
    pub(super) echo: bool,
    /// The name that the client used for the model.
    pub(super) model: Option<String>,
    /// Set when the texts are streamed.
    pub(super) stream: Option<StreamOptions>,
}

impl CompletionBody {
    /// Checks the values.
    pub(super) fn into_request(self, vocabulary: usize) -> Result<CompletionRequest, ApiError> {
        let stream = self.stream.unwrap_or_default().then(|| self.stream_options.unwrap_or_default());
        let texts = Texts::new((self.n, self.best_of), stream)?;
        let shape = self.shape()?;
        let echo = self.echo.unwrap_or_default();
        if echo && self.logprobs.is_some() {
            let message =
                "This server does not offer the probabilities of a prompt's tokens: give echo or logprobs.";
            return Err(ApiError::invalid("echo", message).with_code("unsupported_parameter"));
        }
        let top = self.logprobs.map(|top| in_range("logprobs", top, 0..=5)).transpose()?;
        let chat = ChatBody {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias,
            min_p: self.min_p,
            min_tokens: self.min_tokens,
            seed: self.seed,
            max_tokens: Some(self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS)),
            stop: self.stop,
            ignore_eos: self.ignore_eos,
            skip_special_tokens: self.skip_special_tokens,
            ..ChatBody::default()
        };
        let top_logprobs = top.or(texts.compares().then_some(0));
        let params = CompletionParams { top_logprobs, ..chat.params(vocabulary)? };
        let prompts = self.prompt.into_prompts();
        if prompts.is_empty() {
            return Err(ApiError::invalid("prompt", "There is nothing to continue."));
        }
        if prompts.len().saturating_mul(texts.written) > MAX_TEXTS as usize {
            let message = format!("One request can ask for at most {MAX_TEXTS} texts.");
            return Err(ApiError::invalid("prompt", message));
        }
        let logprobs = top.is_some();
        let (model, cache_salt) = (self.model, self.cache_salt);
        Ok(CompletionRequest { prompts, params, texts, shape, cache_salt, logprobs, echo, model, stream })
    }

    /// The shape of the texts.
    fn shape(&self) -> Result<Option<Asked>, ApiError> {
        let extras = Extras {
            guided_json: self.guided_json.as_ref(),
            guided_choice: self.guided_choice.as_ref(),
            guided_regex: self.guided_regex.as_ref(),
            regex: self.regex.as_ref(),
            structured_outputs: self.structured_outputs.as_ref(),
        };
        shape::only(extras.asked()?)
    }
}
