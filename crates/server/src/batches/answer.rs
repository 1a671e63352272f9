//! Sends a line of a batch as a request, and formats its answer as a line of the output.

use std::time::{Duration, Instant};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{Request, StatusCode, header},
    response::Response,
};
use judge::{Caller, Client, Tenant, Urgency};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Batch, BatchUsage, LineResult};
use tokio::sync::OwnedSemaphorePermit;
use tower::ServiceExt;

use super::{
    Runner,
    line::{Line, route_of},
};
use crate::{
    access::OnBehalfOf,
    error::{ApiError, ErrorCode},
    metrics::LineOutcome,
    request::{id, retry_after::retry_after},
};

/// The number of attempts at a line that fails with 500 or 504.
const MAX_ATTEMPTS: usize = 3;

/// Bounds of the pause between two attempts, whatever `Retry-After` says.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A line of the output. `error` is always null, because clients interpret any other value there as a response;
/// failures are reported in `response`.
#[derive(Serialize)]
struct OutputLine<'a> {
    id: String,
    custom_id: &'a str,
    response: OutputResponse<'a>,
    error: (),
}

/// The response to a line.
#[derive(Serialize)]
struct OutputResponse<'a> {
    status_code: u16,
    request_id: &'a str,
    body: &'a RawValue,
}

/// The token counts of an answer, under the names that the dialects use.
#[derive(Default, Deserialize)]
struct AnswerUsage {
    #[serde(default)]
    usage: UsageBody,
}

/// The parts of an answer with token counts of their own: the verdicts of several rubrics, and the rewards of several
/// questions.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AnswerParts {
    verdicts: Vec<AnswerUsage>,
    results: Vec<AnswerUsage>,
}

/// Token counts, with those that only some dialects have.
#[derive(Default, Deserialize)]
#[serde(default)]
struct UsageBody {
    #[serde(alias = "input_tokens")]
    prompt_tokens: i64,
    #[serde(alias = "output_tokens")]
    completion_tokens: i64,
    cached_tokens: i64,
    #[serde(alias = "input_tokens_details")]
    prompt_tokens_details: TokenDetails,
    #[serde(alias = "output_tokens_details")]
    completion_tokens_details: TokenDetails,
}

/// Details of the token counts of prompts and of answers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenDetails {
    cached_tokens: i64,
    reasoning_tokens: i64,
}

/// The members of a request body that matter to the batch runner.
#[derive(Deserialize)]
struct RequestMembers {
    #[serde(default)]
    stream: serde_json::Value,
}

impl Runner {
    /// Runs a line, which has a permit, and returns its answer. A refusal for lack of capacity (429 or 503) is retried
    /// without a limit. `None` if the server stops, or the time of the batch ends, before there is an answer.
    pub(super) async fn answer(
        &self,
        batch: &Batch,
        line: &Line,
        permit: OwnedSemaphorePermit,
    ) -> Option<LineResult> {
        let mut permit = Some(permit);
        let members: Option<RequestMembers> = serde_json::from_str(line.body.get()).ok();
        if members.is_some_and(|members| members.stream == true) {
            let error = ApiError::invalid("stream", "A line of a batch cannot be answered as a stream.");
            return Some(error_result(line, StatusCode::BAD_REQUEST, &error));
        }
        let body = Bytes::copy_from_slice(line.body.get().as_bytes());
        let mut attempts = 0;
        loop {
            let response = self.send(batch, body.clone()).await;
            let status = response.status();
            let pause = retry_after(response.headers()).unwrap_or_default();
            if self.is_stopping() && status == StatusCode::SERVICE_UNAVAILABLE {
                return None;
            }
            attempts += 1;
            let is_retried = match status {
                StatusCode::SERVICE_UNAVAILABLE => true,
                // Without a time to wait, the line exceeds a whole minute's quota of its key.
                StatusCode::TOO_MANY_REQUESTS => response.headers().contains_key(header::RETRY_AFTER),
                // The deadline of the request is the end of the batch.
                StatusCode::GATEWAY_TIMEOUT if self.storage.store().now() >= batch.expires_at => return None,
                StatusCode::GATEWAY_TIMEOUT | StatusCode::INTERNAL_SERVER_ERROR => attempts < MAX_ATTEMPTS,
                _ => false,
            };
            if !is_retried {
                return Some(result_of_response(line, response).await);
            }
            self.metrics.batch_line(LineOutcome::Retried);
            let kib = u32::try_from(body.len().div_ceil(1024)).unwrap_or(u32::MAX);
            let paused = self.paused_kib.clone().try_acquire_many_owned(kib).ok();
            if paused.is_some() {
                permit = None;
            }
            tokio::select! {
                () = self.lifecycle.draining() => return None,
                () = tokio::time::sleep(pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)) => {}
            }
            if permit.is_none() {
                permit = Some(self.line_permit().await?);
            }
        }
    }

    /// Sends a request of a batch to the router once.
    async fn send(&self, batch: &Batch, body: Bytes) -> Response {
        let left = u64::try_from(batch.expires_at - self.storage.store().now()).unwrap_or(0);
        let client = Client {
            tenant: Tenant(batch.owner.as_str().into()),
            deadline: Instant::now().checked_add(Duration::from_secs(left)),
            urgency: Urgency::Background,
            ..Client::default()
        };
        let caller = Caller { client, ..Caller::default() };
        let request = Request::post(route_of(&batch.endpoint))
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .extension(OnBehalfOf(caller))
            .body(Body::from(body))
            .expect("the endpoint is one of our own routes");
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The result of a line that was not run before its batch expired.
pub(super) fn expired(line: &Line) -> LineResult {
    let message = "This request was not run before the completion window of its batch was over.";
    let error = ApiError::new(StatusCode::GATEWAY_TIMEOUT, ErrorCode::BatchExpired, message);
    error_result(line, StatusCode::GATEWAY_TIMEOUT, &error)
}

/// A failed result that comes from the batch runner itself, not from a route.
fn error_result(line: &Line, status: StatusCode, error: &ApiError) -> LineResult {
    let body = serde_json::value::to_raw_value(&error.body()).expect("our own bodies can be written as JSON");
    let id = format!("req-{}", id::fresh_id());
    line_result(line, status, &id, &body)
}

/// The result of a line that a route has answered.
async fn result_of_response(line: &Line, response: Response) -> LineResult {
    let (head, body) = response.into_parts();
    let id = head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let Ok(body) = to_bytes(body, MAX_ANSWER_BYTES).await else {
        let message = format!("The answer broke off, or has more than {MAX_ANSWER_BYTES} bytes.");
        let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::AnswerLost, message);
        return error_result(line, StatusCode::INTERNAL_SERVER_ERROR, &error);
    };
    line_result(line, head.status, id, &on_one_line(&body))
}

/// The token counts of an answer and of its parts.
fn usage_of(body: &RawValue) -> BatchUsage {
    let whole: AnswerUsage = serde_json::from_str(body.get()).unwrap_or_default();
    let parts: AnswerParts = serde_json::from_str(body.get()).unwrap_or_default();
    let mut sum = BatchUsage::default();
    for AnswerUsage { usage } in [whole].into_iter().chain(parts.verdicts).chain(parts.results) {
        sum.input_tokens += usage.prompt_tokens;
        sum.cached_tokens += usage.cached_tokens + usage.prompt_tokens_details.cached_tokens;
        sum.output_tokens += usage.completion_tokens;
        sum.reasoning_tokens += usage.completion_tokens_details.reasoning_tokens;
    }
    sum
}

/// The body of an answer as JSON without line breaks; a body that is not JSON becomes a JSON string.
fn on_one_line(body: &[u8]) -> Box<RawValue> {
    match serde_json::from_slice::<Box<RawValue>>(body) {
        Ok(raw) if !raw.get().contains(['\n', '\r']) => raw,
        Ok(_) | Err(_) => {
            let value = serde_json::from_slice(body)
                .unwrap_or_else(|_| serde_json::Value::String(String::from_utf8_lossy(body).into_owned()));
            serde_json::value::to_raw_value(&value).expect("a value can be written as JSON")
        }
    }
}

/// The result of a line with this response.
fn line_result(line: &Line, status: StatusCode, request_id: &str, body: &RawValue) -> LineResult {
    let output = OutputLine {
        id: format!("batch_req_{}", id::fresh_id()),
        custom_id: &line.custom_id,
        response: OutputResponse { status_code: status.as_u16(), request_id, body },
        error: (),
    };
    LineResult {
        line: line.number,
        failed: !status.is_success(),
        text: serde_json::to_string(&output).expect("our own lines can be written as JSON"),
        usage: usage_of(body),
    }
}
