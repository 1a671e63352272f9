//! Every failure as one JSON body with a status; the one place that knows which failure means which status.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use judge::{
    EncodeError, EngineError, Exhausted, Failure, ImageFault, JudgeError, Quota, Rubric, RubricError,
};
use serde::Serialize;
use store::StoreError;
use utoipa::ToSchema;

use crate::metrics::{Outcome, Refusal};

/// Which clients a route is for. They differ in how they want to be told of a full waiting line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Clients of OpenAI's interface retry 429 and often die of 503.
    OpenAi,
    /// Our own routes say what is so.
    Native,
}

impl Dialect {
    /// Status and code of a refusal for lack of room.
    pub(crate) fn full(self) -> (StatusCode, &'static str) {
        match self {
            Self::OpenAi => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
            Self::Native => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        }
    }
}

/// The longest time that a client is told to stay away when its own quota is used up: OpenAI's clients take no longer one for
/// earnest than a minute, and what is used up comes back bit by bit.
const COME_AGAIN_MOST_S: u64 = 20;

/// When a client should come again that could not be served for a disk that is full or fails.
const DISK_AGAIN_S: u64 = 10;

/// A failure that is told to a client.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    param: Option<String>,
    text: Option<String>,
    retry_after_s: Option<u64>,
    refusal: Option<Refusal>,
}

impl ApiError {
    /// A failure with a message for people and a code for programs.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        // What a client sent is quoted in part. Our own files are told of whole.
        let quotes = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND].contains(&status);
        let message = if quotes { brief(message, LONGEST_MESSAGE) } else { message };
        Self { status, code, message, param: None, text: None, retry_after_s: None, refusal: None }
    }

    /// A request that makes no sense, in the parameter `param`.
    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        let plain = Self::new(StatusCode::BAD_REQUEST, "invalid_request", message);
        plain.with_param(param)
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
        let plain = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message);
        let refusal = match quota {
            Quota::Requests => Refusal::Requests,
            Quota::Tokens => Refusal::Tokens,
            Quota::Images => Refusal::Images,
        };
        Self { retry_after_s, ..plain }.refused(refusal)
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

    /// What became of the request, for statistics.
    pub(crate) fn outcome(&self) -> Outcome {
        match (self.status, self.code) {
            (StatusCode::TOO_MANY_REQUESTS, _) | (_, "overloaded" | "queue_timeout") => Outcome::Refused,
            (StatusCode::GATEWAY_TIMEOUT, _) => Outcome::TimedOut,
            (StatusCode::BAD_GATEWAY, _) => Outcome::Unparsable,
            (status, _) if status.is_server_error() => Outcome::Failed,
            _ => Outcome::Invalid,
        }
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

    /// What the failure of a judgement or a completion means to a client of `dialect`.
    pub(crate) fn from_judge(error: JudgeError, dialect: Dialect) -> Self {
        use StatusCode as Status;
        let message = error.to_string();
        let (status, code) = match &error {
            JudgeError::Rubric(RubricError::Unknown { .. }) => (Status::NOT_FOUND, "unknown_rubric"),
            JudgeError::Rubric(RubricError::UnknownFormat { .. }) => (Status::BAD_REQUEST, "unknown_format"),
            JudgeError::Rubric(RubricError::WrongKind { .. } | RubricError::InvalidRubric { .. }) => {
                (Status::BAD_REQUEST, "invalid_rubric")
            }
            JudgeError::Rubric(RubricError::MissingField { .. }) => (Status::BAD_REQUEST, "missing_field"),
            JudgeError::Rubric(RubricError::NoPlace { .. }) => (Status::BAD_REQUEST, "unsupported_rubric"),
            JudgeError::Rubric(RubricError::Empty { .. }) => (Status::BAD_REQUEST, "invalid_request"),
            JudgeError::Rubric(RubricError::Unsupported { .. }) => {
                (Status::BAD_REQUEST, "unsupported_rubric")
            }
            JudgeError::Rubric(RubricError::Library(_)) => {
                (Status::UNPROCESSABLE_ENTITY, "invalid_configuration")
            }
            JudgeError::Encode(EncodeError::Image { fault, .. }) => {
                let code = match fault {
                    ImageFault::Unsupported => "unsupported_image_media_type",
                    ImageFault::Damaged => "image_parse_error",
                    ImageFault::Empty => "empty_image_file",
                    ImageFault::FileTooLarge => "image_file_too_large",
                    ImageFault::TooLarge => "image_too_large",
                };
                (Status::BAD_REQUEST, code)
            }
            JudgeError::Encode(EncodeError::ImageTooLarge { .. }) => (Status::BAD_REQUEST, "image_too_large"),
            JudgeError::Encode(EncodeError::Busy) => (Status::SERVICE_UNAVAILABLE, "overloaded"),
            JudgeError::Encode(EncodeError::EmptyVideo) => (Status::BAD_REQUEST, "invalid_video"),
            JudgeError::Encode(EncodeError::Conversation(_)) => (Status::BAD_REQUEST, "invalid_conversation"),
            JudgeError::Encode(EncodeError::Tokenizer(_)) => {
                (Status::INTERNAL_SERVER_ERROR, "tokenizer_failed")
            }
            JudgeError::Engine(EngineError::TooLong { .. }) => {
                (Status::BAD_REQUEST, "context_length_exceeded")
            }
            JudgeError::Engine(EngineError::Empty) => (Status::BAD_REQUEST, "empty_prompt"),
            JudgeError::Engine(EngineError::Quarantined { .. }) => (Status::BAD_REQUEST, "quarantined"),
            JudgeError::Engine(EngineError::Overloaded { .. }) => dialect.full(),
            JudgeError::Engine(EngineError::ShareTaken { .. }) | JudgeError::Exhausted(_) => {
                (Status::TOO_MANY_REQUESTS, "rate_limit_exceeded")
            }
            JudgeError::Engine(EngineError::Stopped) => (Status::SERVICE_UNAVAILABLE, "stopped"),
            JudgeError::UnknownToken { .. } => (Status::BAD_REQUEST, "unknown_token"),
            JudgeError::NoRewardHead => (Status::BAD_REQUEST, "no_reward_head"),
            JudgeError::TooFewResponses { .. } => (Status::BAD_REQUEST, "invalid_request"),
            JudgeError::Labels { .. } => (Status::BAD_REQUEST, "invalid_rubric"),
            JudgeError::Texts(_) => (Status::INTERNAL_SERVER_ERROR, "misconfigured"),
            JudgeError::Grammar(_) => (Status::BAD_REQUEST, "invalid_schema"),
            JudgeError::Failed(failure) if failure.is_non_finite() => {
                (Status::INTERNAL_SERVER_ERROR, "numerical_error")
            }
            JudgeError::Failed(Failure::Backend(_) | Failure::Panicked | Failure::Lost(_)) => {
                (Status::INTERNAL_SERVER_ERROR, "engine_failure")
            }
            JudgeError::Failed(Failure::Waited { .. }) => (dialect.full().0, "queue_timeout"),
            JudgeError::Failed(Failure::Expired) => (Status::GATEWAY_TIMEOUT, "deadline_exceeded"),
            JudgeError::Failed(Failure::GivenUp) => (Status::SERVICE_UNAVAILABLE, "draining"),
            JudgeError::Unparsable { .. } => (Status::BAD_GATEWAY, "unparsable_verdict"),
            JudgeError::Silent => (Status::BAD_GATEWAY, "empty_completion"),
        };
        if status.is_server_error() {
            tracing::error!(error = &error as &dyn std::error::Error, code, "a request failed");
        }
        let plain = Self::new(status, code, message);
        match error {
            JudgeError::Encode(EncodeError::Image { .. } | EncodeError::ImageTooLarge { .. }) => {
                Self { message: unsupported_image(&plain.message), ..plain }
            }
            JudgeError::Engine(EngineError::TooLong { tokens, limit }) if dialect == Dialect::Native => {
                Self {
                    message: format!(
                        "The prompt has {tokens} tokens and the critic can read {limit}, of which one at least is for the \
                     answer: it must be {} tokens shorter.",
                        (tokens + 1).saturating_sub(limit).max(1)
                    ),
                    ..plain
                }
            }
            JudgeError::Engine(EngineError::TooLong { tokens, limit }) => Self {
                message: format!(
                    "This model's maximum context length is {limit} tokens. However, your messages resulted in \
                     {tokens} tokens. Please reduce the length of the messages."
                ),
                ..plain
            },
            JudgeError::Engine(EngineError::Overloaded { requests, tokens, retry_after_s }) => Self {
                message: format!(
                    "Rate limit reached for requests: {requests} with {tokens} tokens in queue. Please retry after \
                     {retry_after_s}s."
                ),
                retry_after_s: Some(retry_after_s),
                ..plain
            },
            JudgeError::Failed(Failure::Waited { most, retry_after_s }) => Self {
                message: format!(
                    "Rate limit reached: the request waited {} s for its turn, which is the limit (queue_timeout_s), and \
                     nothing was done for it. Please retry after {retry_after_s}s.",
                    most.as_secs_f64()
                ),
                retry_after_s: Some(retry_after_s),
                ..plain
            },
            JudgeError::Engine(EngineError::ShareTaken { requests, tokens, retry_after_s }) => Self {
                message: format!(
                    "Rate limit reached: {requests} requests of this key with {tokens} tokens wait already, which is the \
                     key's share of the queue (queue_share). Please retry after {}s.",
                    retry_after_s.min(COME_AGAIN_MOST_S)
                ),
                retry_after_s: Some(retry_after_s.min(COME_AGAIN_MOST_S)),
                refusal: Some(Refusal::QueueShare),
                ..plain
            },
            JudgeError::Engine(EngineError::Quarantined { .. }) => plain.refused(Refusal::Quarantined),
            JudgeError::Exhausted(exhausted) => Self::exhausted(exhausted),
            JudgeError::UnknownToken { .. } => plain.with_param("label_token_ids"),
            JudgeError::Unparsable { text, .. } => Self { text: Some(text), ..plain },
            JudgeError::TooFewResponses { .. } => plain.with_param("responses"),
            JudgeError::Rubric(error) => match blamed(&error) {
                Some(param) => plain.with_param(param),
                None => plain,
            },
            JudgeError::Labels { rubric, .. } => {
                plain.with_param(if rubric == Rubric::INLINE { "scale" } else { "rubric" })
            }
            JudgeError::NoRewardHead => plain.with_param("format"),
            JudgeError::Encode(EncodeError::Busy) => plain.with_retry_after(1),
            JudgeError::Encode(_)
            | JudgeError::Engine(_)
            | JudgeError::Texts(_)
            | JudgeError::Grammar(_)
            | JudgeError::Failed(_)
            | JudgeError::Silent => plain,
        }
    }
}

impl From<StoreError> for ApiError {
    /// What a failure to keep or find something means to a client. Limits are named by the options that set them.
    fn from(error: StoreError) -> Self {
        use StatusCode as Status;
        let message = format!("{}.", capitalised(&error.to_string()));
        let (status, code, option) = match &error {
            StoreError::UnknownFile { .. } | StoreError::UnknownBatch { .. } => {
                (Status::NOT_FOUND, "not_found", None)
            }
            StoreError::KeyReused { .. } => (Status::CONFLICT, "idempotency_key_reused", None),
            StoreError::FileInUse { .. } => (Status::BAD_REQUEST, "file_in_use", None),
            StoreError::FileTooLarge { .. } => {
                (Status::PAYLOAD_TOO_LARGE, "file_too_large", Some("--max-file-mib"))
            }
            StoreError::Full { .. } => (Status::PAYLOAD_TOO_LARGE, "storage_full", Some("--max-stored-mib")),
            StoreError::PartFull { .. } => {
                (Status::PAYLOAD_TOO_LARGE, "storage_full", Some("stored_share of the key"))
            }
            StoreError::PartTooManyFiles { .. } => {
                (Status::PAYLOAD_TOO_LARGE, "too_many_files", Some("stored_share of the key"))
            }
            StoreError::TooManyFiles { .. } => {
                (Status::PAYLOAD_TOO_LARGE, "too_many_files", Some("--max-files"))
            }
            StoreError::TooManyBatches { .. } => (Status::TOO_MANY_REQUESTS, "too_many_batches", None),
            StoreError::Disk(_) => (Status::SERVICE_UNAVAILABLE, "storage_unavailable", None),
            StoreError::Folder { .. }
            | StoreError::Taken { .. }
            | StoreError::Lost { .. }
            | StoreError::Database(_)
            | StoreError::Content(_)
            | StoreError::Record(_) => (Status::INTERNAL_SERVER_ERROR, "storage_failed", None),
        };
        if status.is_server_error() {
            tracing::error!(error = &error as &dyn std::error::Error, code, "files or batches failed");
        }
        match option {
            Some(option) => Self::new(status, code, format!("{message} The server's option is {option}.")),
            None if status == Status::SERVICE_UNAVAILABLE => {
                Self::new(status, code, message).with_retry_after(DISK_AGAIN_S)
            }
            None => Self::new(status, code, message),
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The field of a request that an error of rubrics is about.
fn blamed(error: &RubricError) -> Option<String> {
    match error {
        RubricError::Unknown { .. } | RubricError::WrongKind { .. } | RubricError::NoPlace { .. } => {
            Some("rubric".into())
        }
        RubricError::MissingField { field, .. } => Some(field.as_str().into()),
        RubricError::Empty { path } => Some(path.clone()),
        RubricError::UnknownFormat { .. } => Some("format".into()),
        RubricError::Unsupported { key, .. } => Some((*key).into()),
        RubricError::InvalidRubric { name, key, .. } => {
            Some(if name == Rubric::INLINE { *key } else { "rubric" }.into())
        }
        RubricError::Library(_) => None,
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
    format!("You uploaded an unsupported image. {reason}.")
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
        if ["context_length_exceeded", "request_too_large"].contains(&self.code) {
            response.extensions_mut().insert(Refusal::TooLarge);
        }
        response
    }
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
