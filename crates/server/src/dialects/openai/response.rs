//! The bodies of chat responses, whole and in chunks.

use judge::{Completion, FinishReason, Judge, TokenLogprob, Usage};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    dialects::{
        generation::{
            call::{Call, CallPart, CallReader, CallStyle},
            text_event::finish_reason_name,
        },
        usage::PromptDetails,
    },
    hexadecimal::hexadecimal,
    process::clock::unix_seconds,
    request::id,
};

/// Number of bytes of the weights' digest in a fingerprint: enough to tell the checkpoints of one name apart.
const FINGERPRINT_BYTES: usize = 6;

/// What all chunks of a response have in common.
#[derive(Debug, Clone)]
pub(super) struct ResponseHeader {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) fingerprint: String,
}

impl ResponseHeader {
    /// A response of `judge` whose id begins with `id_prefix`; `model` is the name in the request.
    pub(super) fn new(id_prefix: &str, model: String, judge: &Judge) -> Self {
        let id = format!("{id_prefix}{}", id::fresh_id());
        Self { id, created: unix_seconds(), model, fingerprint: fingerprint(judge) }
    }

    /// A chunk of the stream.
    pub(super) fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<UsageBody>) -> ChatCompletionChunk {
        let Self { id, created, model, fingerprint } = self.clone();
        let object = "chat.completion.chunk";
        ChatCompletionChunk { id, object, created, model, system_fingerprint: fingerprint, choices, usage }
    }
}

/// The name of the checkpoint, with the first digits of its weights' digest. That is computed in the background after
/// the start, and no answer waits for it.
fn fingerprint(judge: &Judge) -> String {
    let name = judge.model();
    match judge.build().weights.get() {
        Some(digest) => format!("{name}@{}", hexadecimal(&digest[..FINGERPRINT_BYTES])),
        None => name.to_owned(),
    }
}

/// A complete response.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatCompletion {
    /// A unique id of the response.
    id: String,
    /// Always `chat.completion`.
    object: &'static str,
    /// When it was created, in seconds since 1970.
    created: u64,
    /// The model's name in the request, unless the server always returns the checkpoint's.
    model: String,
    /// Name of the checkpoint, and the first 12 digits of the SHA-256 of its weights once that is computed, such as
    /// `gavel-mini@457a68191579`.
    system_fingerprint: String,
    /// The `n` texts.
    choices: Vec<Choice>,
    /// Token counts.
    usage: UsageBody,
}

impl ChatCompletion {
    /// The response with these texts, which are the arguments of `call` if there is one. `usage` also counts texts
    /// that were generated and not returned; `logprobs` is whether log-probabilities are returned.
    pub(super) fn new(
        header: ResponseHeader,
        call: Option<&Call>,
        completions: Vec<Completion>,
        usage: UsageBody,
        logprobs: bool,
    ) -> Self {
        let choices = completions.into_iter().enumerate().map(|(index, completion)| Choice {
            index,
            logprobs: logprobs.then(|| Logprobs::new(&completion.piece.logprobs)),
            finish_reason: finish_reason_of(completion.reason, call),
            message: AnswerMessage::new(completion.piece.text, completion.reason, call),
        });
        Self {
            choices: choices.collect(),
            id: header.id,
            object: "chat.completion",
            created: header.created,
            model: header.model,
            system_fingerprint: header.fingerprint,
            usage,
        }
    }
}

/// The finish reason of a text, or of the arguments of a call.
pub(super) fn finish_reason_of(reason: FinishReason, call: Option<&Call>) -> &'static str {
    match reason {
        FinishReason::Stop if call.is_some_and(|call| call.style == CallStyle::Required) => "tool_calls",
        FinishReason::Stop | FinishReason::Length => finish_reason_name(reason),
    }
}

/// One of the texts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Choice {
    /// Its index among the texts, from 0.
    index: usize,
    /// The text as a message.
    message: AnswerMessage,
    /// The log-probabilities of its tokens; null if they were not requested.
    logprobs: Option<Logprobs>,
    /// `stop`, `length`, or `tool_calls` if `tool_choice` was `required`.
    finish_reason: &'static str,
}

/// The critic's message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerMessage {
    /// Always `assistant`.
    role: &'static str,
    /// The text; null if a function is called.
    content: Option<String>,
    /// Always null.
    refusal: Option<String>,
    /// The call of a tool, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<ToolCall>>,
    /// The call of a function in the older form, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionBody>,
}

impl AnswerMessage {
    fn new(text: String, reason: FinishReason, call: Option<&Call>) -> Self {
        let empty =
            Self { role: "assistant", content: None, refusal: None, tool_calls: None, function_call: None };
        let Some(call) = call else { return Self { content: Some(text), ..empty } };
        let Some((name, arguments)) = CallReader::read(call, &text, reason) else { return empty };
        let function = FunctionBody { name: Some(name), arguments };
        match call.style {
            CallStyle::Named | CallStyle::Required => {
                Self { tool_calls: Some(vec![ToolCall::new(function)]), ..empty }
            }
            CallStyle::Function => Self { function_call: Some(function), ..empty },
        }
    }
}

/// A call of a tool.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToolCall {
    /// A unique id of the call.
    id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The function and its arguments.
    function: FunctionBody,
}

impl ToolCall {
    fn new(function: FunctionBody) -> Self {
        Self { id: call_id(), kind: "function", function }
    }
}

/// A new id of a call.
pub(super) fn call_id() -> String {
    format!("call_{}", id::fresh_id())
}

/// A function and its arguments.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FunctionBody {
    /// Name of the function; in a stream, only in the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The arguments as JSON that is valid under the function's parameters; in a stream, the next part of it.
    arguments: String,
}

/// Log-probabilities of the tokens of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Logprobs {
    /// The tokens that the critic chose, in order. The fixed tokens of a form are left out.
    content: Vec<TokenBody>,
    /// Always empty.
    refusal: Vec<TokenBody>,
}

impl Logprobs {
    /// The log-probabilities of `tokens`.
    pub(super) fn new(tokens: &[TokenLogprob]) -> Self {
        let content = tokens.iter().map(|token| TokenBody {
            token: String::from_utf8_lossy(&token.bytes).into_owned(),
            logprob: token.logprob,
            bytes: token.bytes.clone(),
            top_logprobs: (token.top.iter())
                .map(|(bytes, logprob)| TopToken {
                    token: String::from_utf8_lossy(bytes).into_owned(),
                    logprob: *logprob,
                    bytes: bytes.clone(),
                })
                .collect(),
        });
        Self { content: content.collect(), refusal: Vec::new() }
    }

    /// The tokens alone.
    pub(super) fn into_tokens(self) -> Vec<TokenBody> {
        self.content
    }
}

/// A token of the text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TokenBody {
    /// Its text; an incomplete character is written as U+FFFD.
    token: String,
    /// Natural logarithm of its probability, computed from the raw logits.
    logprob: f32,
    /// Its exact bytes.
    bytes: Vec<u8>,
    /// The most probable tokens at this position, best first, as many as were requested; or those of
    /// `logprob_token_ids`, in their order.
    top_logprobs: Vec<TopToken>,
}

/// An alternative token.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TopToken {
    /// Its text; an incomplete character is written as U+FFFD.
    token: String,
    /// Natural logarithm of its probability, computed from the raw logits.
    logprob: f32,
    /// Its exact bytes.
    bytes: Vec<u8>,
}

/// Token counts.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ChatUsage)]
pub(crate) struct UsageBody {
    /// Tokens of the prompt, images included.
    prompt_tokens: usize,
    /// Tokens of all generated texts.
    completion_tokens: usize,
    /// `prompt_tokens` plus `completion_tokens`.
    total_tokens: usize,
    /// Details of the prompt tokens.
    prompt_tokens_details: PromptDetails,
    /// Details of the generated tokens.
    completion_tokens_details: CompletionDetails,
}

/// Details of the generated tokens.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct CompletionDetails {
    /// Always 0.
    reasoning_tokens: usize,
}

impl UsageBody {
    /// The usage of texts with a common prompt, which is counted once.
    pub(super) fn sum(usages: &[Usage]) -> Self {
        let prompt_tokens = usages.iter().map(|usage| usage.prompt_tokens).max().unwrap_or(0);
        // The minimum is that of the first text: later ones may also reuse what the first one computed.
        let cached_tokens = usages.iter().map(|usage| usage.cached_tokens).min().unwrap_or(0);
        let completion_tokens = usages.iter().map(|usage| usage.completion_tokens).sum();
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            prompt_tokens_details: PromptDetails { cached_tokens },
            completion_tokens_details: CompletionDetails::default(),
        }
    }

    /// The usage of texts of several prompts; `usages` has the texts of each prompt.
    pub(super) fn of_prompts(usages: &[Vec<Usage>]) -> Self {
        usages.iter().map(|usages| Self::sum(usages)).fold(Self::default(), |sum, usage| Self {
            prompt_tokens: sum.prompt_tokens + usage.prompt_tokens,
            completion_tokens: sum.completion_tokens + usage.completion_tokens,
            total_tokens: sum.total_tokens + usage.total_tokens,
            prompt_tokens_details: PromptDetails {
                cached_tokens: sum.prompt_tokens_details.cached_tokens
                    + usage.prompt_tokens_details.cached_tokens,
            },
            completion_tokens_details: CompletionDetails::default(),
        })
    }
}

/// A chunk of a streamed response.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatCompletionChunk {
    /// The id of the response, the same in all its chunks.
    id: String,
    /// Always `chat.completion.chunk`.
    object: &'static str,
    /// When the response was created, in seconds since 1970.
    created: u64,
    /// The model's name in the request, unless the server always returns the checkpoint's.
    model: String,
    /// Name of the checkpoint, and the first 12 digits of the SHA-256 of its weights once that is computed, such as
    /// `gavel-mini@457a68191579`.
    system_fingerprint: String,
    /// A part of one text; empty in the chunk with `usage`.
    choices: Vec<ChunkChoice>,
    /// Token counts, in the last chunk only and with `include_usage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
}

/// A part of one text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChunkChoice {
    /// The text's index among the texts, from 0.
    pub(super) index: usize,
    /// The part.
    pub(super) delta: Delta,
    /// The log-probabilities of its tokens; null if they were not requested.
    pub(super) logprobs: Option<Logprobs>,
    /// The finish reason in the last chunk of a text, else null.
    pub(super) finish_reason: Option<&'static str>,
}

/// What a chunk adds to a message.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Delta {
    /// `assistant` in the first chunk of a text; absent in others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    /// More of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
    /// More of the call of a tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<ToolCallDelta>>,
    /// More of the call of a function in the older form.
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionBody>,
}

impl Delta {
    /// The first chunk of a text, or of a call, whose function may be known by its name.
    pub(super) fn opening(call: Option<(&Call, Option<&str>)>) -> Self {
        let content = call.is_none().then(String::new);
        let named = call.and_then(|(call, name)| Some((call, name?.to_owned())));
        let call = named.map(|(call, name)| Self::of_call(call.style, Some(name), String::new()));
        Self { role: Some("assistant"), content, ..call.unwrap_or_default() }
    }

    /// More of a text.
    pub(super) fn text(text: String) -> Self {
        Self { content: Some(text), ..Self::default() }
    }

    /// More of a call; nothing if there is none.
    pub(super) fn call(part: Option<CallPart>, style: CallStyle) -> Self {
        part.map_or_else(Self::default, |CallPart { name, arguments }| Self::of_call(style, name, arguments))
    }

    /// A part of a call. The first one has the function's name.
    fn of_call(style: CallStyle, name: Option<String>, arguments: String) -> Self {
        let first = name.is_some();
        let function = FunctionBody { name, arguments };
        match style {
            CallStyle::Named | CallStyle::Required => {
                let (id, kind) = (first.then(call_id), first.then_some("function"));
                Self {
                    tool_calls: Some(vec![ToolCallDelta { index: 0, id, kind, function }]),
                    ..Self::default()
                }
            }
            CallStyle::Function => Self { function_call: Some(function), ..Self::default() },
        }
    }
}

/// A part of the call of a tool. Only the first one has its id and the function's name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToolCallDelta {
    /// Always 0.
    index: usize,
    /// A unique id of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Always `function`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// The function, and more of its arguments.
    function: FunctionBody,
}
