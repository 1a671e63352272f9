//! API errors: every failure as a JSON body with a status. The errors of other crates get their status here; a module
//! that refuses a request chooses the status itself.

mod causes;
mod code;
mod documented;
mod judging;
mod storing;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use judge::{Exhausted, Quota};
use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics::{Outcome, Refusal};
pub(crate) use causes::{causes, with_causes};
pub(crate) use code::ErrorCode;
pub(crate) use documented::{
    GenerationErrors, JudgementErrors, NoStorage, NotStored, ScoringErrors, TokenErrors, UnknownModel,
};
pub(crate) use judging::{count_failed_verdict, image_of, is_about_length};

/// The kind of clients that a route serves. They differ in how they handle a full queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Clients of OpenAI's interface, which retry 429 and often fail at 503.
    OpenAi,
    /// Clients of Gavel's own routes, which get the accurate status.
    Native,
}

impl Dialect {
    /// The `Retry-After` for clients of this dialect if there will be capacity in `seconds`. OpenAI's clients
    /// ignore long times, so theirs is capped; one that returns too early gets the same answer again.
    fn retry_after(self, seconds: u64) -> u64 {
        match self {
            Self::OpenAi => seconds.min(MAX_RETRY_AFTER_S),
            Self::Native => seconds,
        }
    }
}

/// The longest `Retry-After` in seconds for an exhausted quota, and for clients of OpenAI's interface in any case.
/// They ignore a time longer than a minute, and a quota refills gradually.
const MAX_RETRY_AFTER_S: u64 = 20;

/// The codes of errors that say that the server starts or stops.
const OUT_OF_SERVICE: [ErrorCode; 3] = [ErrorCode::Starting, ErrorCode::Draining, ErrorCode::NotReady];

/// A failure to report to a client.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    param: Option<String>,
    text: Option<String>,
    retry_after_s: Option<u64>,
    refusal: Option<Refusal>,
    /// The outcome of the request for metrics, where the status does not determine it.
    outcome: Option<Outcome>,
}

impl ApiError {
    /// Creates an error with a message for people and a code for programs.
    pub(crate) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        // Messages with these statuses may quote the client's input or the critic's text, so their length is limited.
        // Messages about our own files are kept whole.
        let quotes =
            [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::BAD_GATEWAY].contains(&status);
        let message = if quotes { brief(message, LONGEST_MESSAGE) } else { message };
        Self {
            status,
            code,
            message,
            param: None,
            text: None,
            retry_after_s: None,
            refusal: None,
            outcome: None,
        }
    }

    /// A request refused for lack of capacity, with the status that clients of `dialect` expect.
    pub(crate) fn full(dialect: Dialect, message: impl Into<String>) -> Self {
        let (status, code) = match dialect {
            Dialect::OpenAi => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimitExceeded),
            Dialect::Native => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Overloaded),
        };
        Self { outcome: Some(Outcome::Refused), ..Self::new(status, code, message) }
    }

    /// A request to a server that starts or stops: another one takes it, or this one later. It counts as refused,
    /// since a server that is replaced has not failed; the code is one of [`OUT_OF_SERVICE`].
    pub(crate) fn out_of_service(code: ErrorCode, message: impl Into<String>) -> Self {
        debug_assert!(OUT_OF_SERVICE.contains(&code), "{code:?}");
        Self { outcome: Some(Outcome::Refused), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message) }
    }

    /// Whether the server takes no requests now, whatever they are.
    pub(crate) fn is_out_of_service(&self) -> bool {
        OUT_OF_SERVICE.contains(&self.code)
    }

    /// A client that has exceeded its own limit.
    pub(crate) fn limited(message: impl Into<String>) -> Self {
        let told = Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimitExceeded, message);
        Self { outcome: Some(Outcome::Refused), ..told }
    }

    /// An invalid request, with the parameter at fault.
    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        let plain = Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, message);
        plain.with_param(param)
    }

    /// A required parameter that is missing.
    pub(crate) fn missing(param: impl Into<String>) -> Self {
        let param = brief(param.into(), LONGEST_PARAM);
        let message = format!("{param} is missing.");
        Self::invalid(param, message)
    }

    /// An image that cannot be used.
    pub(crate) fn image(param: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self { code: ErrorCode::InvalidImage, ..Self::invalid(param, unsupported_image(reason)) }
    }

    /// Replaces the status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// A valid key without permission for administration.
    pub(crate) fn not_admin() -> Self {
        let message = "This key is not for administration (admin = true).";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message).refused(Refusal::Forbidden)
    }

    /// An exhausted quota.
    pub(crate) fn exhausted(exhausted: Exhausted) -> Self {
        let Exhausted { quota, limit, asked, retry_after_s } = exhausted;
        let retry_after_s = retry_after_s.map(|seconds| seconds.clamp(1, MAX_RETRY_AFTER_S));
        let what = quota.as_str();
        let message = match retry_after_s {
            Some(seconds) => format!(
                "Rate limit reached for {what} per min: Limit {limit}, Requested {asked}. Please retry after {seconds}s."
            ),
            None => format!("Request too large for {what} per min: Limit {limit}, Requested {asked}."),
        };
        let refusal = match quota {
            Quota::Requests => Refusal::Requests,
            Quota::Tokens => Refusal::Tokens,
            Quota::Images => Refusal::Images,
        };
        Self { retry_after_s, ..Self::limited(message) }.refused(refusal)
    }

    /// Sets the reason under which metrics count the error as a refusal.
    pub(crate) fn refused(self, refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..self }
    }

    /// Removes the parameter.
    pub(crate) fn without_param(self) -> Self {
        Self { param: None, ..self }
    }

    /// A value outside its bounds.
    pub(crate) fn out_of_bounds(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: ErrorCode::InvalidValue, ..Self::invalid(param, message) }
    }

    /// Changes a 429 that can be retried into a 503 `overloaded`, for clients that give up at 429.
    pub(crate) fn unavailable(self) -> Self {
        if self.status == StatusCode::TOO_MANY_REQUESTS && self.retry_after_s.is_some() {
            self.with_status(StatusCode::SERVICE_UNAVAILABLE).with_code(ErrorCode::Overloaded)
        } else {
            self
        }
    }

    /// Replaces the code.
    pub(crate) fn with_code(self, code: ErrorCode) -> Self {
        Self { code, ..self }
    }

    /// Adds a `Retry-After` in seconds.
    pub(crate) fn with_retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Moves the parameter at fault into the object at `path`, which ends with a dot.
    pub(crate) fn inside(self, path: &str) -> Self {
        Self { param: self.param.map(|param| format!("{path}{param}")), ..self }
    }

    /// Sets the parameter at fault.
    pub(crate) fn with_param(self, param: impl Into<String>) -> Self {
        Self { param: Some(brief(param.into(), LONGEST_PARAM)), ..self }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The message for people.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The code for programs.
    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }

    /// The parameter at fault, if any.
    pub(crate) fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    /// The outcome of the request for metrics.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome.unwrap_or(match self.status {
            StatusCode::TOO_MANY_REQUESTS => Outcome::Refused,
            StatusCode::GATEWAY_TIMEOUT => Outcome::TimedOut,
            StatusCode::BAD_GATEWAY => Outcome::Unparsable,
            status if status.is_server_error() => Outcome::Failed,
            _ => Outcome::Invalid,
        })
    }

    /// The reason for which the request was not served, whatever it asked for: no capacity or quota, no time, or a
    /// server that stops. `None` for all other errors.
    fn unserved(&self) -> Option<Outcome> {
        let outcome = self.outcome();
        let is_unserved = matches!(outcome, Outcome::Refused | Outcome::TimedOut)
            || self.status == StatusCode::SERVICE_UNAVAILABLE;
        is_unserved.then_some(outcome)
    }

    /// Whether the same request would fail again, although its status may suggest otherwise.
    fn would_occur_again(&self) -> bool {
        // It asks for more than the quota of a whole minute.
        let exceeds_quota = self.retry_after_s.is_none()
            && matches!(self.refusal, Some(Refusal::Requests | Refusal::Tokens | Refusal::Images));
        exceeds_quota
            || self.refusal == Some(Refusal::Quarantined)
            || matches!(self.status, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY)
    }

    /// The critic's text, if it could not be parsed as a verdict.
    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Moves the parameter of an error about a rubric to the rubric's place in the request. `path` is the prefix of
    /// that place: it ends with a dot, or is empty. A part of a rubric (`criteria`, `scale`) gets the prefix;
    /// `rubric` itself becomes `path` without the dot.
    pub(crate) fn in_rubric(self, path: &str) -> Self {
        let inside = |param: &String| param == "criteria" || param.split('.').next() == Some("scale");
        let place = |param: String| match path.strip_suffix('.') {
            Some(place) if param == "rubric" => place.to_owned(),
            _ if inside(&param) => format!("{path}{param}"),
            _ => param,
        };
        Self { param: self.param.map(place), ..self }
    }

    /// The body of the response.
    pub(crate) fn body(&self) -> ErrorBody {
        let kind = self.kind();
        ErrorBody {
            object: "error",
            message: self.message.clone(),
            kind,
            code: self.code,
            text: self.text.clone(),
            error: self.detail(),
        }
    }

    /// The nested part of the body, which also serves as one member of a larger body.
    pub(crate) fn detail(&self) -> ErrorDetail {
        ErrorDetail {
            message: self.message.clone(),
            kind: self.kind(),
            param: self.param.clone(),
            code: self.code,
        }
    }

    /// The class of the failure: `type` in the body.
    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }
}

/// Returns the results of the parts of a request. If no part was served, all for the same lack of capacity, quota or
/// time, the whole request was not, and is answered as one that has a single part.
///
/// # Errors
/// The error of the first part, if no part was served.
pub(crate) fn unless_unserved<T>(
    results: Vec<Result<T, ApiError>>,
) -> Result<Vec<Result<T, ApiError>>, ApiError> {
    let reason = |result: &Result<T, ApiError>| result.as_ref().err().and_then(ApiError::unserved);
    let first = results.first().and_then(reason);
    if first.is_none() || results.iter().any(|result| reason(result) != first) {
        return Ok(results);
    }
    match results.into_iter().next() {
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Ok(Vec::new()),
    }
}

/// The longest message about a client's input, and the longest name of a parameter, in characters: both may quote
/// the input.
const LONGEST_MESSAGE: usize = 400;
const LONGEST_PARAM: usize = 128;

/// Truncates a text to `longest` characters, marked with an ellipsis.
pub(crate) fn brief(text: String, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The longest part of a client's value that a message quotes, in characters: enough to recognise it.
pub(crate) const LONGEST_VALUE: usize = 64;

/// A client's value in quotation marks, for a message.
pub(crate) fn quoted(value: &str) -> String {
    format!("{:?}", brief(value.to_owned(), LONGEST_VALUE))
}

/// The message for an unusable image. Some clients look for the first sentence and then retry with a smaller image.
fn unsupported_image(reason: impl std::fmt::Display) -> String {
    format!("You uploaded an unsupported image. {}", sentence(&reason.to_string()))
}

/// Turns the error text of another crate into a sentence.
fn sentence(reason: &str) -> String {
    let mut letters = reason.chars();
    let mut text: String =
        letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default();
    if !text.ends_with(['.', '!', '?', '…']) {
        text.push('.');
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(refusal) = self.refusal {
            response.extensions_mut().insert(refusal);
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.would_occur_again() {
            // OpenAI's clients send a request three times unless this header stops them.
            response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
        }
        response.extensions_mut().insert(self.outcome());
        response.extensions_mut().insert(self);
        response
    }
}

/// Rewrites a response with `tell` if it is an error. Headers that other layers have added are kept.
pub(crate) fn retold(mut response: Response, tell: impl FnOnce(ApiError) -> Response) -> Response {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let (head, _) = response.into_parts();
    let mut told = tell(error);
    for (name, value) in &head.headers {
        told.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    told
}

/// The body of every failure. It says the same twice, since clients differ in where they look.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!(ErrorBody::example()))]
pub(crate) struct ErrorBody {
    /// Always `error`.
    object: &'static str,
    /// What is wrong, for people.
    message: String,
    /// The class of failure.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What is wrong, for programs.
    #[schema(value_type = String)]
    code: ErrorCode,
    /// What the critic wrote, when that is no verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The same once more, where other clients look for it.
    error: ErrorDetail,
}

impl ErrorBody {
    /// The example in the API document.
    fn example() -> Self {
        ApiError::invalid("question", "question is empty.").body()
    }
}

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// What is wrong, for people.
    message: String,
    /// The class of failure.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The parameter that is to blame.
    param: Option<String>,
    /// What is wrong, for programs.
    #[schema(value_type = String)]
    code: ErrorCode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_none_of_whose_parts_was_served_is_answered_as_one_part() {
        let error = |status, code| ApiError::new(status, code, "");
        let late = || error(StatusCode::GATEWAY_TIMEOUT, ErrorCode::DeadlineExceeded);
        let full = || ApiError::full(Dialect::Native, "");
        let exhausted = || ApiError::limited("");
        let stopping = || error(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Draining);
        let unparsable = || error(StatusCode::BAD_GATEWAY, ErrorCode::UnparsableVerdict);
        let invalid = || error(StatusCode::BAD_REQUEST, ErrorCode::InvalidRubric);
        let code = |parts: Vec<Result<(), ApiError>>| {
            let count = parts.len();
            match unless_unserved(parts) {
                Ok(results) => {
                    assert_eq!(results.len(), count);
                    None
                }
                Err(error) => Some(error.code().as_str()),
            }
        };
        assert_eq!(code(vec![Err(late()), Err(late())]), Some("deadline_exceeded"));
        assert_eq!(code(vec![Err(full()), Err(exhausted())]), Some("overloaded"));
        assert_eq!(code(vec![Err(stopping()), Err(stopping())]), Some("draining"));
        for parts in [
            vec![],
            vec![Ok(())],
            vec![Ok(()), Err(late())],
            vec![Err(late()), Ok(())],
            vec![Err(late()), Err(full())],
            vec![Err(late()), Err(invalid())],
            vec![Err(unparsable()), Err(unparsable())],
            vec![Err(invalid()), Err(invalid())],
        ] {
            assert_eq!(code(parts.clone()), None, "{parts:?}");
        }
    }
}
