//! The body of a chat request, and what it asks for.

use std::collections::HashMap;

use judge::{CompletionParams, Prompt};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    image_params::ImageParams,
    shape::{self, Asked, Extras, Outputs},
    tokens,
    tools::{Call, Offered},
    turns::{self, ChatMessage},
    values::{in_range, lenient, number_in},
};
use crate::{
    dialects::{content::ImageUrl, null_as_default},
    error::ApiError,
    images::ImageReader,
};

/// Tokens to write when a request does not say: enough for any verdict with its reasons.
const DEFAULT_MAX_TOKENS: usize = 1024;

/// Texts that one request may ask for, as at OpenAI: each is a sequence of the engine, of which far fewer run at a time.
pub(super) const MAX_TEXTS: i64 = 128;

/// The most stop strings, as OpenAI has it, and bytes of each: text is held back as long as it may begin one.
const MAX_STOPS: usize = 4;
const MAX_STOP_BYTES: usize = 64;

/// A conversation, and how it is to be continued. A list of one element is read as its element.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct ChatBody {
    /// Any name; it is echoed, and `system_fingerprint` tells the truth.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) model: Option<String>,
    /// The turns so far, oldest first.
    pub(super) messages: Vec<ChatMessage>,
    /// Images for the places in the turns that are written `<image>`, in order; those without a place come first in the
    /// user's first turn. An extension.
    pub(super) images: Option<Vec<ImageUrl>>,
    /// 0, the default, is greedy.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 2.0, default = 0.0)]
    pub(super) temperature: Option<f32>,
    /// Draw only from the smallest set of tokens whose probability reaches this.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 1.0, default = 1.0)]
    pub(super) top_p: Option<f32>,
    /// Draw only from this many most probable tokens; 0 and -1 mean all. An extension.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) top_k: Option<i64>,
    /// Penalty on tokens already written; by default what the checkpoint asks for. An extension.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) repetition_penalty: Option<f32>,
    /// Subtracted from the logit of each token that was written already.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = -2.0, maximum = 2.0, default = 0.0)]
    pub(super) presence_penalty: Option<f32>,
    /// Subtracted from a token's logit for each time that it was written.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = -2.0, maximum = 2.0, default = 0.0)]
    pub(super) frequency_penalty: Option<f32>,
    /// Added to the logits of tokens, by their ids; at most 300, each from -100 to 100.
    #[serde(default)]
    pub(super) logit_bias: Option<HashMap<String, f32>>,
    /// Draw only from tokens at least this many times as probable as the most probable one. An extension.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 1.0, default = 0.0)]
    pub(super) min_p: Option<f32>,
    /// Start of the random numbers.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) seed: Option<i64>,
    /// Tokens to write at most; more than there is room for means all the room.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, default = 1024)]
    pub(super) max_completion_tokens: Option<i64>,
    /// The older name of `max_completion_tokens`.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1)]
    pub(super) max_tokens: Option<i64>,
    /// Tokens to write at least. An extension.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0, default = 0)]
    pub(super) min_tokens: Option<i64>,
    /// Up to four strings that end the text.
    #[serde(default)]
    pub(super) stop: Option<Stop>,
    /// How many texts are told.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, maximum = 128, default = 1)]
    pub(super) n: Option<i64>,
    /// Of how many texts the `n` are told whose tokens are the most probable in the mean; by default `n`. An extension.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, maximum = 128)]
    pub(super) best_of: Option<i64>,
    /// Whether the probability of each token is told, under the raw logits.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) logprobs: Option<bool>,
    /// How many most probable tokens are told beside each.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0, maximum = 20)]
    pub(super) top_logprobs: Option<i64>,
    /// The tokens that are told beside each, by their ids and in this order, in the place of the most probable ones; at most
    /// 128. An extension.
    #[serde(default)]
    pub(super) logprob_token_ids: Option<Vec<i64>>,
    /// What the text is: `text`, `json_object` or, with a `json_schema`, `json_schema`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(super) response_format: Option<Value>,
    /// Functions that could be called.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub(super) tools: Option<Value>,
    /// `none` and `auto` are an answer in text; a function is called that is named, or is `required` and the only one.
    #[serde(default)]
    pub(super) tool_choice: Option<Value>,
    /// The older form of `tools`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub(super) functions: Option<Value>,
    /// The older form of `tool_choice`.
    #[serde(default)]
    pub(super) function_call: Option<Value>,
    /// A schema for the text. An extension.
    #[serde(default)]
    pub(super) guided_json: Option<Value>,
    /// Texts of which one is written. An extension.
    #[serde(default)]
    pub(super) guided_choice: Option<Vec<String>>,
    /// A regular expression that the whole text matches. An extension.
    #[serde(default)]
    pub(super) guided_regex: Option<String>,
    /// The same. An extension.
    #[serde(default)]
    pub(super) regex: Option<String>,
    /// The same in one object. An extension.
    #[serde(default)]
    pub(super) structured_outputs: Option<Outputs>,
    /// Whether the text comes as server-sent events while it is written.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) stream: Option<bool>,
    /// What comes beside the text.
    pub(super) stream_options: Option<StreamOptions>,
    /// Only requests of the same key with the same salt share what is kept of their prompts. An extension.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) cache_salt: Option<String>,
    /// Write on until the bound of tokens, whatever the critic says. An extension.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) ignore_eos: Option<bool>,
    /// Whether control tokens are left out of the text, which is the default. An extension.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) skip_special_tokens: Option<bool>,
    /// Whether the last message, the assistant's, is continued and not answered. An extension.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) continue_final_message: Option<bool>,
    /// Clients that continue the last message also say `false` here. An extension.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) add_generation_prompt: Option<bool>,
}

/// One string or several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Stop {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// What comes beside streamed text.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
pub(super) struct StreamOptions {
    /// Whether a last chunk tells the tokens read and written.
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) include_usage: bool,
}

/// How many texts a prompt is continued with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts {
    /// Those that are told.
    pub(super) told: usize,
    /// Those that are written.
    pub(super) written: usize,
}

impl Texts {
    /// `n` of `best_of` texts, as they come or at once.
    ///
    /// # Errors
    /// When it is too many, or not known while they come which are the best.
    pub(super) fn new(
        (n, best_of): (Option<i64>, Option<i64>),
        stream: Option<StreamOptions>,
    ) -> Result<Self, ApiError> {
        let told = in_range("n", n.unwrap_or(1), 1..=MAX_TEXTS)?;
        let written = best_of.map_or(Ok(told), |best_of| in_range("best_of", best_of, 1..=MAX_TEXTS))?;
        let refuse = |message: String| Err(ApiError::invalid("best_of", message));
        if written < told {
            return refuse(format!("best_of must be at least n, which is {told}."));
        }
        if stream.is_some() && written > told {
            return refuse(
                "Which texts are the best is known at their end: with stream, best_of must be n.".into(),
            );
        }
        Ok(Self { told, written })
    }

    /// Whether only some of the texts that are written are told, for which their tokens are compared.
    pub(super) fn compares(self) -> bool {
        self.written > self.told
    }
}

/// What a body asks for.
pub(super) struct ChatRequest {
    pub(super) prompt: Prompt,
    /// Where its images stand in the body.
    pub(super) images: ImageParams,
    /// Whether the critic's turn is begun, so that it can answer.
    pub(super) opened: bool,
    /// `top_logprobs` is set when the texts are compared, too.
    pub(super) params: CompletionParams,
    /// Whether the probabilities of tokens are told.
    pub(super) logprobs: bool,
    pub(super) texts: Texts,
    /// What divides its caller's caches.
    pub(super) cache_salt: Option<String>,
    /// The name that the client used for the model.
    pub(super) model: Option<String>,
    /// The shape of its text or of a call's arguments.
    pub(super) shape: Option<Asked>,
    /// The function that is called.
    pub(super) call: Option<Call>,
    /// Set when the text is streamed.
    pub(super) stream: Option<StreamOptions>,
}

impl ChatBody {
    /// Checks the values and makes a prompt of the turns; the critic's tokens have the ids below `vocabulary`.
    pub(super) fn into_request(
        self,
        vocabulary: usize,
        reader: &ImageReader<'_>,
    ) -> Result<ChatRequest, ApiError> {
        let mut params = self.params(vocabulary)?;
        let (call, shape) = self.shape()?;
        let streams = self.stream.unwrap_or_default();
        let stream = streams.then(|| self.stream_options.unwrap_or_default());
        let texts = Texts::new((self.n, self.best_of), stream)?;
        let logprobs = params.top_logprobs.is_some();
        if texts.compares() {
            params.top_logprobs.get_or_insert(0);
        }
        let continued = self.continue_final_message.unwrap_or_default();
        let opened = continued || self.add_generation_prompt != Some(false);
        let apart = ImageUrl::read_all(self.images.unwrap_or_default(), reader)?;
        let mut turns = turns::turns(self.messages, reader)?;
        let reply = if continued { turns::reply(turns.pop())? } else { String::new() };
        let contents = turns.iter().enumerate();
        let contents = contents.map(|(index, turn)| (turn, format!("messages[{index}].content")));
        let images = ImageParams::of(contents).beside(apart.len());
        let prompt = turns::prompt(turns, reply, apart)?;
        let (model, cache_salt) = (self.model, self.cache_salt);
        Ok(ChatRequest {
            prompt,
            images,
            opened,
            params,
            logprobs,
            texts,
            cache_salt,
            model,
            shape,
            call,
            stream,
        })
    }

    /// The function that is called, and the shape of its arguments or of the text.
    fn shape(&self) -> Result<(Option<Call>, Option<Asked>), ApiError> {
        let offered = Offered {
            tools: self.tools.as_ref(),
            tool_choice: self.tool_choice.as_ref(),
            functions: self.functions.as_ref(),
            function_call: self.function_call.as_ref(),
        };
        // Where a function is called there is no text that could have a shape.
        if let Some((call, asked)) = offered.call()? {
            return Ok((Some(call), Some(asked)));
        }
        let extras = Extras {
            guided_json: self.guided_json.as_ref(),
            guided_choice: self.guided_choice.as_ref(),
            guided_regex: self.guided_regex.as_ref(),
            regex: self.regex.as_ref(),
            structured_outputs: self.structured_outputs.as_ref(),
        };
        let format = self.response_format.as_ref().map(|format| shape::of_format(format, "response_format"));
        let asked = format.transpose()?.flatten().into_iter().chain(extras.asked()?).collect();
        Ok((None, shape::only(asked)?))
    }

    /// How the text is to be written.
    pub(super) fn params(&self, vocabulary: usize) -> Result<CompletionParams, ApiError> {
        let (bound_name, bound) = match (self.max_completion_tokens, self.max_tokens) {
            (Some(bound), _) => ("max_completion_tokens", Some(bound)),
            (None, bound) => ("max_tokens", bound),
        };
        let max_tokens =
            bound.map_or(Ok(DEFAULT_MAX_TOKENS), |bound| in_range(bound_name, bound, 1..=i64::MAX))?;
        let temperature = number_in("temperature", self.temperature.unwrap_or(0.0), 0.0..=2.0)?;
        // Nothing reaches a probability of 0, which can only mean the most probable token.
        let top_p = number_in("top_p", self.top_p.unwrap_or(1.0), 0.0..=1.0)?.max(f32::MIN_POSITIVE);
        let top_k = match self.top_k.unwrap_or(0) {
            -1 | 0 => None,
            top_k => Some(in_range("top_k", top_k, 1..=i64::MAX)?),
        };
        let repetition_penalty = self.repetition_penalty;
        if repetition_penalty.is_some_and(|penalty| !penalty.is_finite() || penalty <= 0.0) {
            return Err(ApiError::invalid("repetition_penalty", "repetition_penalty must be above 0."));
        }
        let top = in_range("top_logprobs", self.top_logprobs.unwrap_or(0), 0..=20)?;
        let logprobs = self.logprobs.unwrap_or_default();
        if top > 0 && !logprobs {
            return Err(ApiError::invalid("top_logprobs", "top_logprobs needs logprobs to be true."));
        }
        let logprob_tokens = self.logprob_token_ids.as_deref().unwrap_or_default();
        if !logprob_tokens.is_empty() && !logprobs {
            let message = "logprob_token_ids needs logprobs to be true.";
            return Err(ApiError::invalid("logprob_token_ids", message));
        }
        let min_tokens = in_range("min_tokens", self.min_tokens.unwrap_or(0), 0..=i64::MAX)?;
        if min_tokens > max_tokens {
            let message = format!("min_tokens cannot be above the bound of {max_tokens} tokens.");
            return Err(ApiError::invalid("min_tokens", message));
        }
        let penalty = |name, value: Option<f32>| number_in(name, value.unwrap_or(0.0), -2.0..=2.0);
        let biases = self.logit_bias.as_ref().map(|given| tokens::biases(given, vocabulary)).transpose()?;
        let stop = match &self.stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop.clone()],
            Some(Stop::Several(stops)) => stops.clone(),
        };
        if stop.len() > MAX_STOPS {
            let message = format!("There can be at most {MAX_STOPS} stop strings.");
            return Err(ApiError::invalid("stop", message));
        }
        if stop.iter().any(|stop| stop.len() > MAX_STOP_BYTES) {
            let message = format!("A stop string has at most {MAX_STOP_BYTES} bytes.");
            return Err(ApiError::invalid("stop", message));
        }
        Ok(CompletionParams {
            temperature,
            top_p,
            top_k,
            seed: self.seed.map(i64::cast_unsigned),
            repetition_penalty,
            presence_penalty: penalty("presence_penalty", self.presence_penalty)?,
            frequency_penalty: penalty("frequency_penalty", self.frequency_penalty)?,
            logit_bias: biases.unwrap_or_default(),
            min_p: number_in("min_p", self.min_p.unwrap_or(0.0), 0.0..=1.0)?,
            min_tokens,
            stop,
            top_logprobs: logprobs.then_some(top),
            logprob_tokens: tokens::reported(logprob_tokens, vocabulary)?,
            ignore_end: self.ignore_eos.unwrap_or_default(),
            show_control: !self.skip_special_tokens.unwrap_or(true),
            ..CompletionParams::greedy(max_tokens)
        })
    }
}
