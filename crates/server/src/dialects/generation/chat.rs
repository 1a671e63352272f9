//! The body of a chat request, whether it is to be answered or tokenized.

use std::collections::HashMap;

use judge::{Caller, CompletionParams, EncodedImage, Prompt};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    call::Call,
    image_params::ImageParams,
    messages::{self, ChatMessage},
    sampling::{Sampling, Stop, TokenLimit},
    shape::{self, ConstraintParams, RequestedShape, StructuredOutputs},
    text_counts::{StreamOptions, TextCounts},
    tokens,
    tools::{ForcedCall, FunctionParams},
    unsupported,
};
use crate::{
    dialects::{
        content::ImageUrl,
        values::{in_range, lenient},
    },
    error::ApiError,
    extract::json_body::JsonBytes,
    images::{ImageReader, with_images},
    service::state::AppState,
};

/// The default of `max_completion_tokens`: enough for any verdict with its reasons.
pub(crate) const DEFAULT_MAX_TOKENS: usize = 1024;

/// The maximum number of most probable tokens at each position, as at OpenAI.
pub(crate) const MAX_TOP_LOGPROBS: i64 = 20;

/// The members of a body, besides those of parts, whose strings are images.
pub(crate) const IMAGE_MEMBERS: &[&str] = &["images"];

/// A conversation, and how it is continued. A list of one element is read as its element.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ChatBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones. It is returned in the response;
    /// `system_fingerprint` names the checkpoint.
    #[serde(default, deserialize_with = "lenient")]
    model: Option<String>,
    /// The messages so far, oldest first.
    messages: Vec<ChatMessage>,
    /// Images that replace `<image>`, and parts of type `image` without an image, in the user's messages, in order;
    /// those that are left over begin the user's first message. An extension.
    images: Option<Vec<ImageUrl>>,
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
    /// Seed of the random numbers; if absent, a random one. Text i uses the seed plus i.
    #[serde(default, deserialize_with = "lenient")]
    seed: Option<i64>,
    /// Maximum number of tokens to write; a value above the remaining context means all of it.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, default = 1024)]
    max_completion_tokens: Option<i64>,
    /// The older name of `max_completion_tokens`, which takes precedence.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1)]
    max_tokens: Option<i64>,
    /// Minimum number of tokens before the text may end. An extension.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0, default = 0)]
    min_tokens: Option<i64>,
    /// Up to four strings, of at most 64 bytes each, that end the text and are not part of it.
    #[serde(default)]
    stop: Option<Stop>,
    /// Number of texts to return.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, maximum = 128, default = 1)]
    n: Option<i64>,
    /// Number of texts to generate, of which the `n` with the highest mean log-probability are returned; by default
    /// `n`. Not with `stream`. An extension.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, maximum = 128)]
    best_of: Option<i64>,
    /// Whether to return the log-probability of each token, computed from the raw logits.
    #[serde(default, deserialize_with = "lenient")]
    logprobs: Option<bool>,
    /// Number of most probable tokens to return at each position; needs `logprobs`.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<i64>,
    /// Ids of at most 128 tokens whose log-probabilities are returned at each position, in this order, instead of
    /// the most probable ones; needs `logprobs`. An extension.
    #[serde(default)]
    logprob_token_ids: Option<Vec<i64>>,
    /// The format of the text: type `text`, `json_object`, or `json_schema` with a schema in `json_schema`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    response_format: Option<Value>,
    /// Functions that could be called.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Value>,
    /// With `none` or `auto` the critic answers in text. A named function is called; with `required`, the critic names
    /// one of them. `allowed_tools` narrows the functions to those that it names.
    #[serde(default)]
    tool_choice: Option<Value>,
    /// The older form of `tools`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    functions: Option<Value>,
    /// The older form of `tool_choice`.
    #[serde(default)]
    function_call: Option<Value>,
    /// A JSON schema for the text. An extension.
    #[serde(default)]
    guided_json: Option<Value>,
    /// Texts of which the reply is one. An extension.
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
    /// Whether the text is sent as server-sent events while it is written.
    #[serde(default, deserialize_with = "lenient")]
    stream: Option<bool>,
    /// Options of the stream.
    stream_options: Option<StreamOptions>,
    /// Restricts the sharing of cached prompts to requests of the same key with the same salt, of up to 256 bytes. An
    /// extension.
    #[serde(default, deserialize_with = "lenient")]
    cache_salt: Option<String>,
    /// Whether to write until the maximum number of tokens, ignoring end tokens. An extension.
    #[serde(default, deserialize_with = "lenient")]
    ignore_eos: Option<bool>,
    /// Whether control tokens are left out of the text; by default `true`. An extension.
    #[serde(default, deserialize_with = "lenient")]
    skip_special_tokens: Option<bool>,
    /// Whether the last message, which must be the assistant's, is continued instead of answered. An extension.
    #[serde(default, deserialize_with = "lenient")]
    continue_final_message: Option<bool>,
    /// May be `false` only with `continue_final_message`, as some clients send it. An extension.
    #[serde(default, deserialize_with = "lenient")]
    add_generation_prompt: Option<bool>,
}

/// The function that a reply calls, and the shape of the text.
struct ReplyConstraint {
    call: Option<Call>,
    shape: Option<RequestedShape>,
}

/// The log-probabilities that a request asks for.
struct LogprobParams<'a> {
    /// The number of most probable tokens to return at each position; `None` if there are no log-probabilities.
    top: Option<usize>,
    /// The ids of the tokens to return instead; empty if there are none.
    token_ids: &'a [i64],
}

/// A validated chat request.
pub(crate) struct ChatRequest {
    pub(crate) prompt: Prompt,
    /// The paths of its images in the body.
    pub(crate) images: ImageParams,
    /// Whether the critic's turn is opened, so that it can answer.
    pub(crate) opens_turn: bool,
    /// Has `top_logprobs` also when the best texts are selected.
    pub(crate) params: CompletionParams,
    /// Whether log-probabilities are returned.
    pub(crate) logprobs: bool,
    pub(crate) texts: TextCounts,
    /// The salt that restricts cache sharing.
    pub(crate) cache_salt: Option<String>,
    /// The model's name in the request.
    pub(crate) model: Option<String>,
    /// The shape of the text, also of that of a call.
    pub(crate) shape: Option<RequestedShape>,
    /// The function to call.
    pub(crate) call: Option<Call>,
    /// Set for a streamed response.
    pub(crate) stream: Option<StreamOptions>,
}

/// Parses a chat request and reads its images.
///
/// # Errors
/// When the body is invalid or has a parameter that is not supported, or an image cannot be read.
pub(crate) async fn read_chat(
    state: &AppState,
    caller: &Caller,
    body: &JsonBytes,
) -> Result<ChatRequest, ApiError> {
    unsupported::check(body, unsupported::CHAT)?;
    let vocabulary = state.judge.vocabulary();
    let read =
        with_images(state, caller, |reader| body.parse::<ChatBody>()?.into_request(vocabulary, reader));
    read.await
}

impl ChatBody {
    /// Validates the body and builds the prompt; ids of tokens must be below `vocabulary`.
    fn into_request(self, vocabulary: usize, reader: &ImageReader<'_>) -> Result<ChatRequest, ApiError> {
        let params = self.sampling().params(vocabulary)?;
        let LogprobParams { top, token_ids } = self.logprob_params()?;
        let logprob_tokens = tokens::reported(token_ids, vocabulary)?;
        let ReplyConstraint { call, shape } = self.reply_constraint()?;
        let streams = self.stream.unwrap_or_default();
        let stream = streams.then(|| self.stream_options.unwrap_or_default());
        let texts = TextCounts::new(self.n, self.best_of, stream)?;
        let logprobs = top.is_some();
        let top_logprobs = top.or(texts.selects_best().then_some(0));
        let params = CompletionParams { top_logprobs, logprob_tokens, ..params }.one_of(texts.generated);
        let continued = self.continue_final_message.unwrap_or_default();
        let opens_turn = continued || self.add_generation_prompt != Some(false);
        let detached = ImageUrl::read_all(self.images.unwrap_or_default(), reader)?;
        let (prompt, images) = prompt(self.messages, detached, continued, reader)?;
        let (model, cache_salt) = (self.model, self.cache_salt);
        Ok(ChatRequest {
            prompt,
            images,
            opens_turn,
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

    /// The function to call, and the shape of the text.
    fn reply_constraint(&self) -> Result<ReplyConstraint, ApiError> {
        let functions = FunctionParams {
            tools: self.tools.as_ref(),
            tool_choice: self.tool_choice.as_ref(),
            functions: self.functions.as_ref(),
            function_call: self.function_call.as_ref(),
        };
        // A call takes precedence: it leaves no text that could have a shape.
        if let Some(ForcedCall { call, shape }) = functions.forced_call()? {
            return Ok(ReplyConstraint { call: Some(call), shape: Some(shape) });
        }
        let constraints = ConstraintParams {
            guided_json: self.guided_json.as_ref(),
            guided_choice: self.guided_choice.as_ref(),
            guided_regex: self.guided_regex.as_ref(),
            regex: self.regex.as_ref(),
            structured_outputs: self.structured_outputs.as_ref(),
        };
        let format =
            self.response_format.as_ref().map(|format| shape::from_format(format, "response_format"));
        let shapes = format.transpose()?.flatten().into_iter().chain(constraints.shapes()?).collect();
        Ok(ReplyConstraint { call: None, shape: shape::single(shapes)? })
    }

    /// How the text is sampled.
    fn sampling(&self) -> Sampling<'_> {
        let (param, value) = match (self.max_completion_tokens, self.max_tokens) {
            (Some(max), _) => ("max_completion_tokens", Some(max)),
            (None, max) => ("max_tokens", max),
        };
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
            max_tokens: TokenLimit { param, value, default: DEFAULT_MAX_TOKENS },
            ignore_eos: self.ignore_eos,
            skip_special_tokens: self.skip_special_tokens,
        }
    }

    fn logprob_params(&self) -> Result<LogprobParams<'_>, ApiError> {
        let wanted = self.logprobs.unwrap_or_default();
        let top = in_range("top_logprobs", self.top_logprobs.unwrap_or(0), 0..=MAX_TOP_LOGPROBS)?;
        if top > 0 && !wanted {
            return Err(ApiError::invalid("top_logprobs", "top_logprobs needs logprobs to be true."));
        }
        let token_ids = self.logprob_token_ids.as_deref().unwrap_or_default();
        if !token_ids.is_empty() && !wanted {
            let message = "logprob_token_ids needs logprobs to be true.";
            return Err(ApiError::invalid("logprob_token_ids", message));
        }
        Ok(LogprobParams { top: wanted.then_some(top), token_ids })
    }
}

/// The prompt of a conversation with `detached` images, and the paths of all its images in the body. If `continued`,
/// the last message is the start of the critic's turn.
fn prompt(
    mut messages: Vec<ChatMessage>,
    detached: Vec<EncodedImage>,
    continued: bool,
    reader: &ImageReader<'_>,
) -> Result<(Prompt, ImageParams), ApiError> {
    messages::insert_placeholders(&mut messages, detached.len());
    let mut messages = messages::read(messages, reader)?;
    let reply = if continued { messages::reply(messages.pop())? } else { String::new() };
    let contents = messages.iter().enumerate();
    let contents = contents.map(|(index, message)| (message, format!("messages[{index}].content")));
    let images = ImageParams::of(contents).with_detached(detached.len());
    Ok((messages::prompt(messages, reply, detached)?, images))
}
