//! Every failure as one JSON body with a status; the one place that knows which failure means which status.

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
pub(crate) use judging::image_of;

/// Which clients a route is for. They differ in how they want to be told of a full waiting line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Clients of OpenAI's interface retry 429 and often die of 503.
    OpenAi,
    /// Our own routes say what is so.
    Native,
}

impl Dialect {
    /// In how many seconds a client is told to come again where there will be room in so many: OpenAI's clients take no time
    /// beyond a minute or two for earnest, and one that comes too soon is told so again.
    fn again(self, seconds: u64) -> u64 {
        match self {
            Self::OpenAi => seconds.min(COME_AGAIN_MOST_S),
            Self::Native => seconds,
        }
    }
}

/// The longest time that a client is told to stay away when its own quota is used up, and clients of OpenAI's interface in any case: they
/// take none longer than a minute for earnest, and what is used up comes back bit by bit.
const COME_AGAIN_MOST_S: u64 = 20;

/// A failure that is told to a client.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    param: Option<String>,
    text: Option<String>,
    retry_after_s: Option<u64>,
    refusal: Option<Refusal>,
    /// What became of the request, where its status does not say so.
    outcome: Option<Outcome>,
}

impl ApiError {
    /// A failure with a message for people and a code for programs.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        // What a client sent is quoted in part. Our own files are told of whole.
        let quotes = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND].contains(&status);
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

    /// A request for which there is no room now, as clients of `dialect` want to be told.
    pub(crate) fn full(dialect: Dialect, message: impl Into<String>) -> Self {
        let (status, code) = match dialect {
            Dialect::OpenAi => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
            Dialect::Native => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        };
        Self { outcome: Some(Outcome::Refused), ..Self::new(status, code, message) }
    }

    /// A client that has had its part for now.
    pub(crate) fn limited(message: impl Into<String>) -> Self {
        let told = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message);
        Self { outcome: Some(Outcome::Refused), ..told }
    }

    /// A request that makes no sense, in the parameter `param`.
    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        let plain = Self::new(StatusCode::BAD_REQUEST, "invalid_request", message);
        plain.with_param(param)
    }

    /// A parameter that must be there, and is not.
    pub(crate) fn missing(param: impl Into<String>) -> Self {
        let param = brief(param.into(), LONGEST_PARAM);
        let message = format!("{param} is missing.");
        Self::invalid(param, message)
    }

    /// An image that is not one.
    pub(crate) fn image(param: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self { code: "invalid_image", ..Self::invalid(param, unsupported_image(reason)) }
    }

    /// The same failure with another status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// A key that is known, for something that its holder may not do.
    pub(crate) fn not_admin() -> Self {
        let message = "This key is not for administration (admin = true).";
        Self::new(StatusCode::FORBIDDEN, "forbidden", message).refused(Refusal::Forbidden)
    }

    /// A quota that is used up.
    pub(crate) fn exhausted(exhausted: Exhausted) -> Self {
        let Exhausted { quota, limit, asked, retry_after_s } = exhausted;
        let retry_after_s = retry_after_s.map(|seconds| seconds.clamp(1, COME_AGAIN_MOST_S));
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

    /// The same failure, which is counted as a refusal.
    pub(crate) fn refused(self, refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..self }
    }

    /// The same failure, blamed on no parameter.
    pub(crate) fn without_param(self) -> Self {
        Self { param: None, ..self }
    }

    /// A value outside of its bounds.
    pub(crate) fn out_of_bounds(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: "invalid_value", ..Self::invalid(param, message) }
    }

    /// The same as a server that has no room now, where another moment would have spared it: there are clients that give up at 429.
    pub(crate) fn unavailable(self) -> Self {
        if self.status == StatusCode::TOO_MANY_REQUESTS && self.retry_after_s.is_some() {
            self.with_status(StatusCode::SERVICE_UNAVAILABLE).with_code("overloaded")
        } else {
            self
        }
    }

    /// The same failure with another code.
    pub(crate) fn with_code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    /// The same failure, which may be gone after some seconds.
    pub(crate) fn with_retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The same failure, blamed on a parameter.
    pub(crate) fn with_param(self, param: impl Into<String>) -> Self {
        Self { param: Some(brief(param.into(), LONGEST_PARAM)), ..self }
    }

    /// What is wrong, for people.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What is wrong, for programs.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// The parameter that is to blame.
    pub(crate) fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    /// What became of the request, for statistics.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome.unwrap_or(match self.status {
            StatusCode::TOO_MANY_REQUESTS => Outcome::Refused,
            StatusCode::GATEWAY_TIMEOUT => Outcome::TimedOut,
            StatusCode::BAD_GATEWAY => Outcome::Unparsable,
            status if status.is_server_error() => Outcome::Failed,
            _ => Outcome::Invalid,
        })
    }

    /// What the critic wrote, when that is no verdict.
    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The same failure; when a part of the rubric is to blame, it stands below `path`, which ends with a dot, or is the
    /// rubric of a list that stands there.
    pub(crate) fn in_rubric(self, path: &str) -> Self {
        let inside = |param: &String| param == "criteria" || param.split('.').next() == Some("scale");
        let place = |param: String| match path.strip_suffix('.') {
            Some(place) if param == "rubric" => place.to_owned(),
            _ if inside(&param) => format!("{path}{param}"),
            _ => param,
        };
        Self { param: self.param.map(place), ..self }
    }

    /// The body that tells it.
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

    /// The part of the body that tells it among other things.
    pub(crate) fn detail(&self) -> ErrorDetail {
        ErrorDetail {
            message: self.message.clone(),
            kind: self.kind(),
            param: self.param.clone(),
            code: self.code,
        }
    }

    /// The class of the failure.
    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }
}

/// The longest message about what a client sent, and the longest name of a parameter, in characters: both may quote what was sent.
const LONGEST_MESSAGE: usize = 400;
const LONGEST_PARAM: usize = 128;

/// The beginning of a text that is too long.
pub(crate) fn brief(text: String, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Some clients look for the first sentence and then try again with a smaller image.
fn unsupported_image(reason: impl std::fmt::Display) -> String {
    format!("You uploaded an unsupported image. {}", sentence(&reason.to_string()))
}

/// A reason, as errors of other crates tell it, as a sentence of its own.
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
        if matches!(self.status, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY)
            || self.refusal == Some(Refusal::Quarantined)
        {
            // The same request would fail again, and OpenAI's clients send it three times unless they are told.
            response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
        }
        response.extensions_mut().insert(self.outcome());
        response.extensions_mut().insert(self);
        response
    }
}

/// A response, told anew by `tell` if it is a failure. Headers that others put there stay.
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
    code: &'static str,
    /// What the critic wrote, when that is no verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The same once more, where other clients look for it.
    error: ErrorDetail,
}

impl ErrorBody {
    /// A failure, as the API document shows it.
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
    code: &'static str,
}
