//! Errors of rejected and of failed requests.

use std::{sync::Arc, time::Duration};

use critic::{BackendError, TokenId};

use crate::decoding::guide::GuideError;

/// Why a request was rejected.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The queue is full, in requests or in tokens.
    #[error("{requests} requests with {tokens} tokens are waiting already")]
    Overloaded {
        /// Number of requests that wait or are being prepared.
        requests: usize,
        /// Number of uncached prompt tokens in the queue.
        tokens: usize,
        /// Seconds after which there should be room again: the tokens in the queue, and those that running sequences
        /// are expected to run still, divided by the throughput.
        retry_after_s: u64,
    },
    /// The tenant has used up its share of the queue.
    #[error(
        "{requests} requests with {tokens} tokens of the same tenant are waiting already, which is its share"
    )]
    ShareTaken {
        /// Number of the tenant's requests that wait or are being prepared.
        requests: usize,
        /// Number of the tenant's uncached prompt tokens in the queue.
        tokens: usize,
        /// Seconds after which some of them should have left: the tenant's tokens, and those that the running
        /// sequences of all tenants are expected to run still, divided by the throughput.
        retry_after_s: u64,
    },
    /// The prompt and the reply together can never fit.
    #[error("the prompt has {tokens} tokens; there is room for {limit}")]
    TooLong {
        /// Number of prompt tokens.
        tokens: usize,
        /// The maximum number of tokens of a prompt and its reply together.
        limit: usize,
        /// Number of the prompt's tokens that stand for images and videos; 0 also if it is not known.
        of_images: usize,
        /// Whether the prompt was refused before all of it was read, so that it may have more tokens.
        or_more: bool,
    },
    /// The prompt has no tokens, or the script requests no output.
    #[error("a request needs at least one prompt token and one output token")]
    Empty,
    /// Engines died while they ran this request, at least once while it ran alone.
    #[error(
        "the engine ended when it ran this request, more than once; it is refused for {left_s} seconds more"
    )]
    Quarantined {
        /// Remaining time of the quarantine, in seconds.
        left_s: u64,
    },
    /// The engine's thread has ended.
    #[error("the engine has stopped")]
    Stopped,
}

impl EngineError {
    /// The error for a prompt of `tokens` tokens without images, where `limit` is the maximum.
    pub fn too_long(tokens: usize, limit: usize) -> Self {
        Self::TooLong { tokens, limit, of_images: 0, or_more: false }
    }

    /// The error for a prompt of which it is only known that it has at least `tokens` tokens.
    pub fn too_long_at_least(tokens: usize, limit: usize) -> Self {
        Self::TooLong { tokens, limit, of_images: 0, or_more: true }
    }
}

/// Why an accepted request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// Its step failed, and failed again when it ran alone.
    #[error(transparent)]
    Backend(Arc<BackendError>),
    /// The model's code panicked.
    #[error("the model's code panicked")]
    Panicked,
    /// The guide of its text failed.
    #[error(transparent)]
    GuideError(#[from] GuideError),
    /// One of its labels has a token for which the model computes no logit, so that it has no probability.
    #[error("a label has the token {}, and the model has logits for {vocabulary} tokens", .token.0)]
    UnknownLabel {
        /// The token.
        token: TokenId,
        /// Number of tokens with a logit.
        vocabulary: usize,
    },
    /// Its deadline passed.
    #[error("the request ran out of time")]
    Expired,
    /// It, or another part of the same request, was not started within the time for which it waits.
    #[error("the request waited in the queue for {} s and was not begun", .most.as_secs_f64())]
    QueueTimedOut {
        /// The maximum time that it would wait.
        most: Duration,
        /// Seconds after which there should be room for it: the tokens in the queue, and those that running sequences
        /// are expected to run still, divided by the throughput.
        retry_after_s: u64,
    },
    /// The engine was requested to end all work.
    #[error("the server stopped before the request was answered")]
    GivenUp,
}

impl Failure {
    /// Whether the model computed non-finite numbers.
    pub fn is_non_finite(&self) -> bool {
        matches!(self, Self::Backend(error) if matches!(**error, BackendError::NonFinite))
    }
}
