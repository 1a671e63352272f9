//! Maps failures of judgements and completions to API errors.

use std::error::Error;

use axum::http::StatusCode as Status;
use judge::{EncodeError, EngineError, Failure, GuideError, ImageFault, JudgeError, Rubric, RubricError};

use super::{
    ApiError, Dialect, ErrorCode, LONGEST_VALUE, MAX_RETRY_AFTER_S, brief, sentence, unsupported_image,
};
use crate::metrics::{Metrics, Outcome, Refusal};

impl ApiError {
    /// Maps the failure of a judgement or a completion to an error for clients of `dialect`, and logs it if the
    /// server is at fault.
    #[expect(clippy::needless_pass_by_value, reason = "whoever tells a failure is done with it")]
    pub(crate) fn from_judge(error: JudgeError, dialect: Dialect) -> Self {
        let told = judging(&error, dialect);
        if matches!(error, JudgeError::Unparsable { .. }) {
            // Its causes quote the critic's text, which is not for the log.
            tracing::error!(code = told.code.as_str(), "the critic's text has no verdict");
            return told;
        }
        let error: &dyn Error = &error;
        match told.status {
            // It exceeded the time limit of its client or of the server: nothing failed.
            Status::GATEWAY_TIMEOUT => {
                tracing::info!(error, code = told.code.as_str(), "a request ran out of time")
            }
            Status::SERVICE_UNAVAILABLE => {
                tracing::warn!(error, code = told.code.as_str(), "a request was not served")
            }
            status if status.is_server_error() => {
                tracing::error!(error, code = told.code.as_str(), "a request failed")
            }
            _ => {}
        }
        told
    }
}

/// Counts a judgement without a verdict, whether it is the whole request or a part of it, by the code of its error.
pub(crate) fn count_failed_verdict(metrics: &Metrics, error: &JudgeError) {
    metrics.failed_verdict(error, judging(error, Dialect::Native).code.as_str());
}

/// The index, from 0, of the image in the prompt that an error is about; frames count too. `None` for other errors.
pub(crate) fn image_of(error: &JudgeError) -> Option<usize> {
    match error {
        JudgeError::Encode(EncodeError::Image { index, .. } | EncodeError::ImageTooLarge { index, .. }) => {
            Some(*index)
        }
        _ => None,
    }
}

/// Whether an error is about the length of the prompt: longer than the context, or empty.
pub(crate) fn is_about_length(error: &JudgeError) -> bool {
    matches!(error, JudgeError::Engine(EngineError::TooLong { .. } | EngineError::Empty))
}

fn judging(error: &JudgeError, dialect: Dialect) -> ApiError {
    let plain = |status, code| ApiError::new(status, code, sentence(&error.to_string()));
    match error {
        JudgeError::Rubric(error) => rubric(error),
        JudgeError::Encode(error) => encoding(error, dialect),
        JudgeError::Engine(error) => engine(error, dialect),
        JudgeError::Failed(failure) => failed(failure, dialect),
        JudgeError::NoThread => again(error, dialect),
        JudgeError::Exhausted(exhausted) => ApiError::exhausted(*exhausted),
        JudgeError::TooFewResponses { .. } => {
            plain(Status::BAD_REQUEST, ErrorCode::InvalidRequest).with_param("responses")
        }
        JudgeError::Labels { rubric, .. } if rubric == Rubric::INLINE => {
            let message = "The verdicts that are possible here cannot be told apart as tokens.";
            ApiError::new(Status::BAD_REQUEST, ErrorCode::InvalidRubric, message).with_param("scale")
        }
        JudgeError::Labels { .. } => {
            plain(Status::BAD_REQUEST, ErrorCode::InvalidRubric).with_param("rubric")
        }
        JudgeError::Texts(_) => plain(Status::INTERNAL_SERVER_ERROR, ErrorCode::Misconfigured),
        JudgeError::Grammar(_) => plain(Status::BAD_REQUEST, ErrorCode::InvalidSchema),
        JudgeError::UnknownToken { .. } => {
            plain(Status::BAD_REQUEST, ErrorCode::UnknownToken).with_param("label_token_ids")
        }
        JudgeError::NoRewardHead => plain(Status::BAD_REQUEST, ErrorCode::NoRewardHead).with_param("format"),
        JudgeError::Unparsable { text, .. } => {
            ApiError { text: Some(text.clone()), ..plain(Status::BAD_GATEWAY, ErrorCode::UnparsableVerdict) }
        }
        JudgeError::Silent => {
            // Clients of OpenAI's interface retry 502 forever but give up at 500; a retry would have the same
            // result.
            let status = match dialect {
                Dialect::OpenAi => Status::INTERNAL_SERVER_ERROR,
                Dialect::Native => Status::BAD_GATEWAY,
            };
            ApiError { outcome: Some(Outcome::Unparsable), ..plain(status, ErrorCode::EmptyCompletion) }
        }
    }
}

/// The message about an error of rubrics. An unknown name is the client's, and is quoted in part.
fn rubric_message(error: &RubricError) -> String {
    let short = |name: &String| brief(name.clone(), LONGEST_VALUE);
    let shortened = match error {
        RubricError::Unknown { name, nearest } => {
            RubricError::Unknown { name: short(name), nearest: nearest.clone() }
        }
        RubricError::UnknownFormat { name, known } => {
            RubricError::UnknownFormat { name: short(name), known: known.clone() }
        }
        other => return sentence(&other.to_string()),
    };
    sentence(&shortened.to_string())
}

/// Maps an error of rubrics to the field of the request that caused it.
fn rubric(error: &RubricError) -> ApiError {
    let plain = |status, code| ApiError::new(status, code, rubric_message(error));
    let invalid = |code| plain(Status::BAD_REQUEST, code);
    match error {
        RubricError::Unknown { .. } => {
            plain(Status::NOT_FOUND, ErrorCode::UnknownRubric).with_param("rubric")
        }
        RubricError::UnknownFormat { .. } => invalid(ErrorCode::UnknownFormat).with_param("format"),
        RubricError::WrongKind { .. } => invalid(ErrorCode::InvalidRubric).with_param("rubric"),
        RubricError::InvalidRubric { name, key, reason } if name == Rubric::INLINE => {
            // The only thing that can be wrong with criteria.
            let message = match *key {
                "criteria" => "The criteria are empty.".to_owned(),
                _ => sentence(&format!("these criteria make no rubric: {reason}")),
            };
            ApiError::new(Status::BAD_REQUEST, ErrorCode::InvalidRubric, message).with_param(*key)
        }
        RubricError::InvalidRubric { .. } => invalid(ErrorCode::InvalidRubric).with_param("rubric"),
        RubricError::MissingField { field, .. } => {
            invalid(ErrorCode::MissingField).with_param(field.as_str())
        }
        RubricError::NoPlace { .. } => invalid(ErrorCode::UnsupportedRubric).with_param("rubric"),
        RubricError::NoQuestion => invalid(ErrorCode::InvalidRequest).with_param("question"),
        RubricError::Unsupported { key, .. } => invalid(ErrorCode::UnsupportedRubric).with_param(*key),
        // A list of files, which is no sentence.
        RubricError::Library(_) => {
            ApiError::new(Status::UNPROCESSABLE_ENTITY, ErrorCode::InvalidConfiguration, error.to_string())
        }
    }
}

fn encoding(error: &EncodeError, dialect: Dialect) -> ApiError {
    let plain = |status, code| ApiError::new(status, code, sentence(&error.to_string()));
    // The parameter of the error names the image.
    let image = |code, reason: &str| ApiError::new(Status::BAD_REQUEST, code, unsupported_image(reason));
    match error {
        EncodeError::Image { fault, reason, .. } => {
            let code = match fault {
                ImageFault::Unsupported => ErrorCode::UnsupportedImageMediaType,
                ImageFault::Damaged => ErrorCode::ImageParseError,
                ImageFault::TooSlow => ErrorCode::ImageDecodeTimeout,
                ImageFault::Empty => ErrorCode::EmptyImageFile,
                ImageFault::FileTooLarge => ErrorCode::ImageFileTooLarge,
                ImageFault::TooLarge => ErrorCode::ImageTooLarge,
            };
            image(code, reason)
        }
        EncodeError::ImageTooLarge { width, height, limit, .. } => {
            let limit = *limit as f64 / 1e6;
            let reason = format!(
                "It has {width}x{height} pixels; the limit is {limit} million in all (max_megapixels)"
            );
            image(ErrorCode::ImageTooLarge, &reason)
        }
        EncodeError::Busy => again(error, dialect),
        EncodeError::EmptyVideo => plain(Status::BAD_REQUEST, ErrorCode::InvalidVideo),
        EncodeError::Conversation(_) => plain(Status::BAD_REQUEST, ErrorCode::InvalidConversation),
        EncodeError::Tokenizer(_) => plain(Status::INTERNAL_SERVER_ERROR, ErrorCode::TokenizerFailed),
    }
}

/// A temporary lack of resources, to be retried after 1 s.
fn again(error: &impl Error, dialect: Dialect) -> ApiError {
    let message = match dialect {
        Dialect::OpenAi => format!("Rate limit reached: {error}. Please retry after 1s."),
        Dialect::Native => sentence(&error.to_string()),
    };
    ApiError::full(dialect, message).with_retry_after(1)
}

fn engine(error: &EngineError, dialect: Dialect) -> ApiError {
    let plain = |status, code| ApiError::new(status, code, sentence(&error.to_string()));
    match error {
        EngineError::Overloaded { requests, tokens, retry_after_s } => {
            let retry_after_s = dialect.retry_after(*retry_after_s);
            let message = match dialect {
                Dialect::OpenAi => format!(
                    "Rate limit reached for requests: {requests} with {tokens} tokens in queue. Please retry after \
                     {retry_after_s}s."
                ),
                Dialect::Native => format!(
                    "The queue is full: {requests} requests are waiting, with {tokens} uncached prompt tokens. Please \
                     retry after {retry_after_s}s."
                ),
            };
            ApiError::full(dialect, message).with_retry_after(retry_after_s)
        }
        EngineError::ShareTaken { requests, tokens, retry_after_s } => {
            let again_s = (*retry_after_s).min(MAX_RETRY_AFTER_S);
            let message = format!(
                "Rate limit reached: {requests} requests of this key with {tokens} tokens wait already, which is the \
                 key's share of the queue (queue_share). Please retry after {again_s}s."
            );
            ApiError::limited(message).with_retry_after(again_s).refused(Refusal::QueueShare)
        }
        EngineError::TooLong { tokens, limit, of_images, or_more } => {
            let message = too_long((*tokens, *of_images), *limit, (*or_more, dialect));
            let told = ApiError::new(Status::BAD_REQUEST, ErrorCode::ContextLengthExceeded, message);
            told.refused(Refusal::TooLarge)
        }
        EngineError::Empty => plain(Status::BAD_REQUEST, ErrorCode::EmptyPrompt),
        EngineError::Quarantined { .. } => {
            plain(Status::BAD_REQUEST, ErrorCode::Quarantined).refused(Refusal::Quarantined)
        }
        EngineError::Stopped => plain(Status::SERVICE_UNAVAILABLE, ErrorCode::Stopped),
    }
}

/// The message for a prompt that exceeds the context, with the number of its tokens, or a lower bound of it, and of those
/// of images: OpenAI's clients look for this wording.
fn too_long(
    (tokens, of_images): (usize, usize),
    limit: usize,
    (or_more, dialect): (bool, Dialect),
) -> String {
    match dialect {
        Dialect::Native => {
            let least = if or_more { "at least " } else { "" };
            let images = match of_images {
                0 => String::new(),
                count => format!(", {count} of them for images,"),
            };
            let over = (tokens + 1).saturating_sub(limit).max(1);
            format!(
                "The prompt has {least}{tokens} tokens{images} and the critic can read {limit}, of which one at least is \
                 for the answer: it must be {least}{over} tokens shorter."
            )
        }
        Dialect::OpenAi => {
            let more = if or_more { " or more" } else { "" };
            let images = match of_images {
                0 => String::new(),
                count => format!(", {count} of them for images"),
            };
            format!(
                "This model's maximum context length is {limit} tokens. However, your messages resulted in {tokens} \
                 tokens{more}{images}. Please reduce the length of the messages."
            )
        }
    }
}

fn failed(failure: &Failure, dialect: Dialect) -> ApiError {
    let plain = |status, code| ApiError::new(status, code, sentence(&failure.to_string()));
    match failure {
        Failure::Backend(_) if failure.is_non_finite() => {
            plain(Status::INTERNAL_SERVER_ERROR, ErrorCode::NumericalError)
        }
        // The client's own rules led there.
        Failure::GuideError(GuideError::TooComplex | GuideError::DeadEnd) => {
            plain(Status::BAD_REQUEST, ErrorCode::InvalidSchema)
        }
        Failure::Backend(_)
        | Failure::Panicked
        | Failure::GuideError(GuideError::Lost(_))
        | Failure::UnknownLabel { .. } => plain(Status::INTERNAL_SERVER_ERROR, ErrorCode::EngineFailure),
        Failure::QueueTimedOut { most, retry_after_s } => {
            let retry_after_s = dialect.retry_after(*retry_after_s);
            let most_s = most.as_secs_f64();
            let reason = format!(
                "the request waited {most_s} s for its turn, which is the limit (queue_timeout_s), and nothing was done for \
                 it. Please retry after {retry_after_s}s."
            );
            let message = match dialect {
                Dialect::OpenAi => format!("Rate limit reached: {reason}"),
                Dialect::Native => sentence(&reason),
            };
            ApiError::full(dialect, message)
                .with_code(ErrorCode::QueueTimeout)
                .with_retry_after(retry_after_s)
        }
        Failure::Expired => plain(Status::GATEWAY_TIMEOUT, ErrorCode::DeadlineExceeded),
        Failure::GivenUp => plain(Status::SERVICE_UNAVAILABLE, ErrorCode::Draining),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_told_as_a_sentence_with_the_option_that_refused_it() {
        let told = |error: EncodeError| ApiError::from_judge(error.into(), Dialect::Native).message;
        let (fault, reason) = (ImageFault::Empty, "it is empty".to_owned());
        let empty = EncodeError::Image { index: 3, fault, reason };
        assert_eq!(told(empty), "You uploaded an unsupported image. It is empty.");
        let large = EncodeError::ImageTooLarge { index: 0, width: 9000, height: 9000, limit: 64_000_000 };
        assert!(told(large).ends_with("the limit is 64 million in all (max_megapixels)."));
        let slow = EncodeError::Image { index: 0, fault: ImageFault::TooSlow, reason: "it is slow".into() };
        assert_eq!(ApiError::from_judge(slow.into(), Dialect::Native).code, ErrorCode::ImageDecodeTimeout);
        let few = JudgeError::TooFewResponses { count: 1, least: 2 };
        let few = ApiError::from_judge(few, Dialect::Native).message;
        assert_eq!(few, "There is 1 response; at least 2 are needed.");
    }

    #[test]
    fn each_dialect_is_told_of_lack_of_room_as_its_clients_can_take_it() {
        let told = |error: fn() -> JudgeError, dialect| {
            let told = ApiError::from_judge(error(), dialect);
            (told.status.as_u16(), told.retry_after_s, told.message.starts_with("Rate limit"))
        };
        let full = || EngineError::Overloaded { requests: 9, tokens: 9, retry_after_s: 60 }.into();
        assert_eq!(told(full, Dialect::OpenAi), (429, Some(20), true));
        assert_eq!(told(full, Dialect::Native), (503, Some(60), false));
        let late = || {
            let most = std::time::Duration::from_secs(2);
            Failure::QueueTimedOut { most, retry_after_s: 60 }.into()
        };
        assert_eq!(told(late, Dialect::OpenAi), (429, Some(20), true));
        assert_eq!(told(late, Dialect::Native), (503, Some(60), false));
        let message = |error: JudgeError| ApiError::from_judge(error, Dialect::Native).message;
        assert!(message(full()).starts_with("The queue is full: 9 requests "), "{}", message(full()));
        assert!(message(late()).starts_with("The request waited 2 s "), "{}", message(late()));
        let busy = || EncodeError::Busy.into();
        assert_eq!(told(busy, Dialect::OpenAi), (429, Some(1), true));
        assert_eq!(told(busy, Dialect::Native), (503, Some(1), false));
        let no_thread = || JudgeError::NoThread;
        assert_eq!(told(no_thread, Dialect::OpenAi), (429, Some(1), true));
        assert_eq!(told(no_thread, Dialect::Native), (503, Some(1), false));
        let silent = || JudgeError::Silent;
        assert_eq!(told(silent, Dialect::OpenAi), (500, None, false));
        assert_eq!(told(silent, Dialect::Native), (502, None, false));
        assert_eq!(ApiError::from_judge(silent(), Dialect::OpenAi).outcome(), Outcome::Unparsable);
    }

    #[test]
    fn by_how_much_a_prompt_is_too_long_is_told_with_its_images_or_as_a_lower_bound() {
        let told = |or_more, of_images, dialect| too_long((40_000, of_images), 32_768, (or_more, dialect));
        for (or_more, of_images, dialect, words) in [
            (false, 0, Dialect::Native, "has 40000 tokens and"),
            (false, 0, Dialect::Native, "must be 7233 tokens shorter"),
            (false, 35_000, Dialect::Native, "has 40000 tokens, 35000 of them for images, and"),
            (true, 0, Dialect::Native, "has at least 40000 tokens and"),
            (true, 0, Dialect::Native, "must be at least 7233 tokens shorter"),
            (false, 0, Dialect::OpenAi, "resulted in 40000 tokens. Please"),
            (false, 35_000, Dialect::OpenAi, "resulted in 40000 tokens, 35000 of them for images. Please"),
            (true, 0, Dialect::OpenAi, "resulted in 40000 tokens or more. Please"),
        ] {
            let message = told(or_more, of_images, dialect);
            assert!(message.contains(words), "{words:?} in {message}");
        }
    }
}
