//! The body of a response, whole and while it is written.

use judge::{Completion, FinishReason, TokenLogprob, Usage};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::response::{Logprobs, ResponseHeader, TokenBody, call_id},
    request::ResponseEcho,
};
use crate::{
    dialects::generation::call::{Call, CallReader},
    error::ApiError,
    request::id,
};

/// A response.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::dialects::openai) struct ResponseBody {
    /// A unique id of the response.
    id: String,
    /// Always `response`.
    object: &'static str,
    /// When it was created, in seconds since 1970.
    created_at: u64,
    /// `in_progress`, `completed`, `incomplete` or `failed`.
    status: &'static str,
    /// Why it failed; null unless it did.
    error: Option<ResponseError>,
    /// Why it is incomplete; null unless it is.
    incomplete_details: Option<IncompleteDetails>,
    /// The model's name in the request, unless the server always returns the checkpoint's.
    model: String,
    /// Name of the checkpoint, and the first 12 digits of the SHA-256 of its weights once that is computed, such as
    /// `gavel-mini@457a68191579`.
    system_fingerprint: String,
    /// The critic's message or its call, the only item; empty while the response is in progress, and if the text ended
    /// before the function was named.
    output: Vec<OutputItem>,
    /// Token counts; null while the response is in progress.
    usage: Option<ResponseUsage>,
    #[serde(flatten)]
    echo: ResponseEcho,
    /// Always `false`: there are no background responses.
    background: bool,
    /// Always `true`.
    parallel_tool_calls: bool,
    /// Always null.
    previous_response_id: Option<String>,
    /// Always `false`: nothing is stored.
    store: bool,
    /// Always `disabled`: a prompt that is too long is refused.
    truncation: &'static str,
}

/// Why a response failed.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ResponseError {
    /// Always `server_error`.
    code: &'static str,
    /// A message for people.
    message: String,
}

/// Why a response is incomplete.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct IncompleteDetails {
    /// Always `max_output_tokens`.
    reason: &'static str,
}

/// What the critic wrote.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum OutputItem {
    /// A text.
    Message(OutputMessage),
    /// A call of a function.
    Call(OutputCall),
}

/// A call of a function.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct OutputCall {
    /// A unique id of the item.
    pub(super) id: String,
    /// Always `function_call`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// `in_progress`, `completed` or `incomplete`.
    status: &'static str,
    /// A unique id of the call.
    call_id: String,
    /// The function.
    pub(super) name: String,
    /// The arguments as JSON that is valid under the function's parameters; empty while the call is in progress.
    arguments: String,
}

/// The critic's message.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct OutputMessage {
    /// A unique id of the message.
    pub(super) id: String,
    /// Always `message`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// `in_progress`, `completed` or `incomplete`.
    status: &'static str,
    /// Always `assistant`.
    role: &'static str,
    /// The text, the only part; empty while the message is in progress.
    content: Vec<OutputText>,
}

/// The text of a message.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct OutputText {
    /// Always `output_text`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The text.
    pub(super) text: String,
    /// Always empty.
    #[schema(value_type = Vec<Object>)]
    annotations: [(); 0],
    /// Log-probabilities of the tokens that the critic chose; empty if they were not requested. The fixed tokens of a
    /// form are left out.
    pub(super) logprobs: Vec<TokenBody>,
}

/// Token counts.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct ResponseUsage {
    /// Tokens of the prompt, images included.
    input_tokens: usize,
    /// Details of the prompt tokens.
    input_tokens_details: InputDetails,
    /// Tokens written.
    output_tokens: usize,
    /// Details of the tokens written.
    output_tokens_details: OutputDetails,
    /// `input_tokens` plus `output_tokens`.
    total_tokens: usize,
}

/// Details of the prompt tokens.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct InputDetails {
    /// Tokens that were taken from the prefix cache.
    cached_tokens: usize,
    /// Always 0: writing to the cache has no cost.
    cache_write_tokens: usize,
}

/// Details of the tokens written.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct OutputDetails {
    /// Always 0.
    reasoning_tokens: usize,
}

/// The end of a text: the finish reason and the token counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) reason: FinishReason,
    pub(super) usage: Usage,
}

impl ResponseBody {
    /// A response of which nothing is written yet.
    pub(super) fn in_progress(header: ResponseHeader, echo: ResponseEcho) -> Self {
        let ResponseHeader { id, created, model, fingerprint } = header;
        Self {
            id,
            object: "response",
            created_at: created,
            status: IN_PROGRESS,
            error: None,
            incomplete_details: None,
            model,
            system_fingerprint: fingerprint,
            output: Vec::new(),
            usage: None,
            echo,
            background: false,
            parallel_tool_calls: true,
            previous_response_id: None,
            store: false,
            truncation: "disabled",
        }
    }

    /// The response with its item, if there is one, at its end.
    pub(super) fn with_item(self, item: Option<OutputItem>, end: End) -> Self {
        let Usage { prompt_tokens, cached_tokens, completion_tokens } = end.usage;
        Self {
            status: status_of(end.reason),
            incomplete_details: match end.reason {
                FinishReason::Stop => None,
                FinishReason::Length => Some(IncompleteDetails { reason: "max_output_tokens" }),
            },
            output: item.into_iter().collect(),
            usage: Some(ResponseUsage {
                input_tokens: prompt_tokens,
                input_tokens_details: InputDetails { cached_tokens, cache_write_tokens: 0 },
                output_tokens: completion_tokens,
                output_tokens_details: OutputDetails { reasoning_tokens: 0 },
                total_tokens: prompt_tokens + completion_tokens,
            }),
            ..self
        }
    }

    /// The response after a failure.
    pub(super) fn with_error(self, error: &ApiError) -> Self {
        let error = ResponseError { code: "server_error", message: error.message().to_owned() };
        Self { status: "failed", error: Some(error), ..self }
    }

    /// The response with a complete text, which is a call if there is a `call`.
    pub(super) fn with_completion(self, completion: Completion, call: Option<&Call>) -> Self {
        let Completion { piece, reason, usage } = completion;
        let item = match call {
            None => {
                let text = OutputText::new(piece.text, &piece.logprobs);
                Some(OutputItem::Message(OutputMessage::in_progress().with_text(text, reason)))
            }
            Some(call) => CallReader::read(call, &piece.text, reason).map(|(name, arguments)| {
                OutputItem::Call(OutputCall::in_progress(name).with_arguments(arguments, reason))
            }),
        };
        self.with_item(item, End { reason, usage })
    }
}

/// The status of responses and items that are being written.
const IN_PROGRESS: &str = "in_progress";

/// The status of a response and its item at its end.
fn status_of(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "completed",
        FinishReason::Length => "incomplete",
    }
}

impl OutputCall {
    /// A call of the function `name` of which no arguments are written yet.
    pub(super) fn in_progress(name: String) -> Self {
        let (id, arguments) = (format!("fc_{}", id::fresh_id()), String::new());
        Self { id, kind: "function_call", status: IN_PROGRESS, call_id: call_id(), name, arguments }
    }

    /// The call with its arguments, at its end.
    pub(super) fn with_arguments(self, arguments: String, reason: FinishReason) -> Self {
        Self { status: status_of(reason), arguments, ..self }
    }
}

impl OutputMessage {
    /// A message of which nothing is written yet.
    pub(super) fn in_progress() -> Self {
        let id = format!("msg_{}", id::fresh_id());
        Self { id, kind: "message", status: IN_PROGRESS, role: "assistant", content: Vec::new() }
    }

    /// The message with its text, at its end.
    pub(super) fn with_text(self, text: OutputText, reason: FinishReason) -> Self {
        Self { status: status_of(reason), content: vec![text], ..self }
    }
}

impl OutputText {
    /// A text, with the log-probabilities of its tokens if they were requested.
    pub(super) fn new(text: String, logprobs: &[TokenLogprob]) -> Self {
        Self { kind: "output_text", text, annotations: [], logprobs: Logprobs::new(logprobs).into_tokens() }
    }
}
