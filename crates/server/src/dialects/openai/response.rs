//! The bodies of chat responses, whole and in chunks.

use std::time::{SystemTime, UNIX_EPOCH};

use judge::{Completion, FinishReason, TokenLogprob, Usage};
use serde::Serialize;
use utoipa::ToSchema;

use super::tools::{Call, Style};
use crate::request_id;

/// What the parts of one response have in common.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) fingerprint: String,
}

impl Header {
    /// A response whose id begins with `kind`, in which the model is called `named`, from the checkpoint called `truth`.
    pub(super) fn new(kind: &str, named: String, truth: &str) -> Self {
        Self {
            id: format!("{kind}{}", request_id::fresh_id()),
            created: now(),
            model: named,
            fingerprint: truth.to_owned(),
        }
    }

    /// A chunk of the stream.
    pub(super) fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<UsageBody>) -> ChatCompletionChunk {
        let Self { id, created, model, fingerprint } = self.clone();
        let object = "chat.completion.chunk";
        ChatCompletionChunk { id, object, created, model, system_fingerprint: fingerprint, choices, usage }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// A whole response.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatCompletion {
    /// Another one for each response.
    id: String,
    /// Always `chat.completion`.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// The name that the request used.
    model: String,
    /// Name of the checkpoint.
    system_fingerprint: String,
    /// The texts, `n` of them.
    choices: Vec<Choice>,
    /// Tokens read and written.
    usage: UsageBody,
}

impl ChatCompletion {
    /// The texts in their order, and the usage of all that were written for them.
    pub(super) fn new(
        (header, call): (Header, Option<Call>),
        (completions, usage): (Vec<Completion>, UsageBody),
        logprobs: bool,
    ) -> Self {
        let choices = completions.into_iter().enumerate().map(|(index, completion)| Choice {
            index,
            logprobs: logprobs.then(|| Logprobs::new(&completion.piece.logprobs)),
            finish_reason: word(completion.reason, call.as_ref()),
            message: AnswerMessage::new(completion.piece.text, call.as_ref()),
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

/// The word for the end of a text, or of the arguments of a call.
pub(super) fn word(reason: FinishReason, call: Option<&Call>) -> &'static str {
    match reason {
        FinishReason::Stop if call.is_some_and(|call| call.style == Style::Required) => "tool_calls",
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

/// One text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Choice {
    /// Its place among the texts.
    index: usize,
    /// The text as a turn.
    message: AnswerMessage,
    /// How probable its tokens were, if that was asked for.
    logprobs: Option<Logprobs>,
    /// `stop`, `length`, or `tool_calls` where a call was required of the only function.
    finish_reason: &'static str,
}

/// The critic's turn.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerMessage {
    /// Always `assistant`.
    role: &'static str,
    /// The text; `null` where a function is called.
    content: Option<String>,
    /// Always `null`.
    refusal: Option<String>,
    /// The call, where a function is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<ToolCall>>,
    /// The call in the older form.
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionBody>,
}

impl AnswerMessage {
    fn new(text: String, call: Option<&Call>) -> Self {
        let empty =
            Self { role: "assistant", content: None, refusal: None, tool_calls: None, function_call: None };
        let Some(call) = call else { return Self { content: Some(text), ..empty } };
        let function = FunctionBody { name: Some(call.name.clone()), arguments: text };
        match call.style {
            Style::Named | Style::Required => {
                Self { tool_calls: Some(vec![ToolCall::new(function)]), ..empty }
            }
            Style::Function => Self { function_call: Some(function), ..empty },
        }
    }
}

/// A call of a tool.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToolCall {
    /// Names the call.
    id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What is called, and how.
    function: FunctionBody,
}

impl ToolCall {
    fn new(function: FunctionBody) -> Self {
        Self { id: call_id(), kind: "function", function }
    }
}

/// A name for a call.
fn call_id() -> String {
    format!("call_{}", request_id::fresh_id())
}

/// A function and its arguments.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FunctionBody {
    /// The function's name; in a stream, in the first piece alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// JSON that is valid under the function's parameters; in a stream, a piece of it.
    arguments: String,
}

/// How probable the tokens of a text were.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Logprobs {
    /// The tokens in their order.
    content: Vec<TokenBody>,
    /// Always empty.
    refusal: Vec<TokenBody>,
}

impl Logprobs {
    /// The tokens in their order.
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

/// A token that was written.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TokenBody {
    /// Its text; a part of a character shows as U+FFFD.
    token: String,
    /// The natural logarithm of its probability, under the raw logits.
    logprob: f32,
    /// Its bytes, exactly.
    bytes: Vec<u8>,
    /// The most probable tokens at its place, as many as were asked for.
    top_logprobs: Vec<TopToken>,
}

/// A token that could have been written.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TopToken {
    /// Its text; a part of a character shows as U+FFFD.
    token: String,
    /// The natural logarithm of its probability.
    logprob: f32,
    /// Its bytes, exactly.
    bytes: Vec<u8>,
}

/// Tokens read and written.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ChatUsage)]
pub(crate) struct UsageBody {
    /// Tokens of the prompt, images included.
    prompt_tokens: usize,
    /// Tokens written, in all texts together.
    completion_tokens: usize,
    /// Their sum.
    total_tokens: usize,
    /// What kinds of tokens were read.
    prompt_tokens_details: PromptDetails,
    /// What kinds of tokens were written.
    completion_tokens_details: CompletionDetails,
}

/// More of the tokens read.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct PromptDetails {
    /// Tokens that were not computed again.
    pub(crate) cached_tokens: usize,
}

/// More of the tokens written.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct CompletionDetails {
    /// Always 0.
    reasoning_tokens: usize,
}

impl UsageBody {
    /// The usage of texts that share their prompt.
    pub(super) fn sum(usages: &[Usage]) -> Self {
        let prompt_tokens = usages.iter().map(|usage| usage.prompt_tokens).max().unwrap_or(0);
        // The first text finds what earlier requests left; the others may also find what the first one left.
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

    /// The usage of texts over several prompts, `usages` of the texts of each.
    pub(super) fn of_prompts(usages: &[Vec<Usage>]) -> Self {
        usages.iter().map(|usages| Self::sum(usages)).fold(Self::default(), |sum, more| Self {
            prompt_tokens: sum.prompt_tokens + more.prompt_tokens,
            completion_tokens: sum.completion_tokens + more.completion_tokens,
            total_tokens: sum.total_tokens + more.total_tokens,
            prompt_tokens_details: PromptDetails {
                cached_tokens: sum.prompt_tokens_details.cached_tokens
                    + more.prompt_tokens_details.cached_tokens,
            },
            completion_tokens_details: CompletionDetails::default(),
        })
    }
}

/// A piece of a streamed response.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatCompletionChunk {
    /// The same in all chunks of a response.
    id: String,
    /// Always `chat.completion.chunk`.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// The name that the request used.
    model: String,
    /// Name of the checkpoint.
    system_fingerprint: String,
    /// A piece of one text; none in the chunk that has `usage`.
    choices: Vec<ChunkChoice>,
    /// In the last chunk, when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
}

/// A piece of one text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChunkChoice {
    /// The text's place among the texts.
    pub(super) index: usize,
    /// What the piece adds.
    pub(super) delta: Delta,
    /// How probable its tokens were, if that was asked for.
    pub(super) logprobs: Option<Logprobs>,
    /// As in a whole response in the last piece of a text, else `null`.
    pub(super) finish_reason: Option<&'static str>,
}

/// What a piece adds.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Delta {
    /// `assistant`, in the first piece of a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
    /// A piece of a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<ToolCallDelta>>,
    /// A piece of a call in the older form.
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionBody>,
}

impl Delta {
    /// The first piece of a text or call.
    pub(super) fn opening(call: Option<&Call>) -> Self {
        let content = call.is_none().then(String::new);
        let named = call.map(|call| Self::called(call.style, Some(call.name.clone()), String::new()));
        Self { role: Some("assistant"), content, ..named.unwrap_or_default() }
    }

    /// More of a text or of a call's arguments.
    pub(super) fn more(text: String, call: Option<&Call>) -> Self {
        match call {
            None => Self { content: Some(text), ..Self::default() },
            Some(call) => Self::called(call.style, None, text),
        }
    }

    fn called(style: Style, name: Option<String>, arguments: String) -> Self {
        let first = name.is_some();
        let function = FunctionBody { name, arguments };
        match style {
            Style::Named | Style::Required => {
                let (id, kind) = (first.then(call_id), first.then_some("function"));
                Self {
                    tool_calls: Some(vec![ToolCallDelta { index: 0, id, kind, function }]),
                    ..Self::default()
                }
            }
            Style::Function => Self { function_call: Some(function), ..Self::default() },
        }
    }
}

/// A piece of a call; its name and id are in the first one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToolCallDelta {
    /// Always 0.
    index: usize,
    /// Names the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Always `function`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// What is called, and more of its arguments.
    function: FunctionBody,
}
