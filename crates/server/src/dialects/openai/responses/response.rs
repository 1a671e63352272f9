//! The body of a response, whole and as it grows.

use judge::{Completion, FinishReason, TokenLogprob, Usage};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::response::{Header, Logprobs, TokenBody},
    request::ResponseEcho,
};
use crate::{error::ApiError, request_id};

/// A response.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::dialects::openai) struct ResponseBody {
    /// Its name, which no other has.
    id: String,
    /// Always `response`.
    object: &'static str,
    /// Seconds since 1970.
    created_at: u64,
    /// `in_progress`, `completed`, `incomplete` or `failed`.
    status: &'static str,
    /// Why it failed.
    error: Option<ResponseError>,
    /// Why it is incomplete.
    incomplete_details: Option<IncompleteDetails>,
    /// The name that the request used.
    model: String,
    /// Name of the checkpoint.
    system_fingerprint: String,
    /// One message.
    output: Vec<OutputMessage>,
    /// Tokens read and written, at the end.
    usage: Option<ResponseUsage>,
    #[serde(flatten)]
    echo: ResponseEcho,
    /// Always `false`: no request is answered later.
    background: bool,
    /// Always `true`.
    parallel_tool_calls: bool,
    /// Always `null`.
    previous_response_id: Option<String>,
    /// Always `false`: nothing is kept.
    store: bool,
    /// Always `auto`.
    tool_choice: &'static str,
    /// Always empty.
    #[schema(value_type = Vec<Object>)]
    tools: [(); 0],
    /// Always `disabled`: a prompt that is too long is refused.
    truncation: &'static str,
}

/// Why a response failed.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ResponseError {
    /// Always `server_error`.
    code: &'static str,
    /// What is wrong, for people.
    message: String,
}

/// Why a response is incomplete.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct IncompleteDetails {
    /// Always `max_output_tokens`.
    reason: &'static str,
}

/// The critic's turn.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct OutputMessage {
    /// Its name, which no other has.
    pub(super) id: String,
    /// Always `message`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// `in_progress`, `completed` or `incomplete`.
    status: &'static str,
    /// Always `assistant`.
    role: &'static str,
    /// One text; none while nothing is written.
    content: Vec<OutputText>,
}

/// What it says.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct OutputText {
    /// Always `output_text`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The text itself.
    pub(super) text: String,
    /// Always empty.
    #[schema(value_type = Vec<Object>)]
    annotations: [(); 0],
    /// When they were asked for, else empty.
    pub(super) logprobs: Vec<TokenBody>,
}

/// Tokens read and written.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct ResponseUsage {
    /// Tokens read, those of images included.
    input_tokens: usize,
    /// More of the tokens read.
    input_tokens_details: InputDetails,
    /// Tokens written.
    output_tokens: usize,
    /// More of the tokens written.
    output_tokens_details: OutputDetails,
    /// Both together.
    total_tokens: usize,
}

/// More of the tokens read.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct InputDetails {
    /// Tokens that were not computed again.
    cached_tokens: usize,
    /// Always 0: what is kept costs nothing.
    cache_write_tokens: usize,
}

/// More of the tokens written.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct OutputDetails {
    /// Always 0.
    reasoning_tokens: usize,
}

/// How a response came to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) reason: FinishReason,
    pub(super) usage: Usage,
}

impl ResponseBody {
    /// A response of which nothing is written yet.
    pub(super) fn begun(header: &Header, echo: &ResponseEcho) -> Self {
        let Header { id, created, model, fingerprint } = header.clone();
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
            echo: echo.clone(),
            background: false,
            parallel_tool_calls: true,
            previous_response_id: None,
            store: false,
            tool_choice: "auto",
            tools: [],
            truncation: "disabled",
        }
    }

    /// The same, written.
    pub(super) fn ended(self, message: OutputMessage, end: End) -> Self {
        let Usage { prompt_tokens, cached_tokens, completion_tokens } = end.usage;
        Self {
            status: message.status,
            incomplete_details: match end.reason {
                FinishReason::Stop => None,
                FinishReason::Length => Some(IncompleteDetails { reason: "max_output_tokens" }),
            },
            output: vec![message],
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

    /// The same, failed.
    pub(super) fn failed(self, error: &ApiError) -> Self {
        let error = ResponseError { code: "server_error", message: error.message().to_owned() };
        Self { status: "failed", error: Some(error), ..self }
    }

    /// A response that is written already.
    pub(super) fn whole((header, echo): (&Header, &ResponseEcho), completion: Completion) -> Self {
        let Completion { piece, reason, usage } = completion;
        let text = OutputText::new(piece.text, &piece.logprobs);
        Self::begun(header, echo).ended(OutputMessage::begun().ended(text, reason), End { reason, usage })
    }
}

/// The state of what is being written.
const IN_PROGRESS: &str = "in_progress";

impl OutputMessage {
    /// A message of which nothing is written yet.
    pub(super) fn begun() -> Self {
        let id = format!("msg_{}", request_id::fresh_id());
        Self { id, kind: "message", status: IN_PROGRESS, role: "assistant", content: Vec::new() }
    }

    /// The same, written.
    pub(super) fn ended(self, text: OutputText, reason: FinishReason) -> Self {
        let status = match reason {
            FinishReason::Stop => "completed",
            FinishReason::Length => "incomplete",
        };
        Self { status, content: vec![text], ..self }
    }
}

impl OutputText {
    /// A text with the probabilities of its tokens, if they were asked for.
    pub(super) fn new(text: String, logprobs: &[TokenLogprob]) -> Self {
        Self { kind: "output_text", text, annotations: [], logprobs: Logprobs::new(logprobs).into_tokens() }
    }
}
