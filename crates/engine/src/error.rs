//! Why the engine did not take or could not finish a request.

use std::{sync::Arc, time::Duration};

use critic::BackendError;

use crate::guide::Lost;

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The waiting line is full, in requests or in tokens.
    #[error("{requests} requests with {tokens} tokens are waiting already")]
    Overloaded {
        /// Requests in the waiting line.
        requests: usize,
        /// Tokens of their prompts.
        tokens: usize,
        /// When there should be room again, in seconds: the line's tokens by the tokens that are run each second.
        retry_after_s: u64,
    },
    /// Its tenant has its share of the waiting line already.
    #[error(
        "{requests} requests with {tokens} tokens of the same tenant are waiting already, which is its share"
    )]
    ShareTaken {
        /// Requests of the tenant in the waiting line.
        requests: usize,
        /// Tokens of their prompts.
        tokens: usize,
        /// When some of them should be gone, in seconds.
        retry_after_s: u64,
    },
    /// Prompt and output together can never fit.
    #[error("the prompt has {tokens} tokens; there is room for {limit}")]
    TooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// The most tokens that prompt and output may have together.
        limit: usize,
    },
    /// The prompt has no token, or no output is asked for.
    #[error("a request needs at least one prompt token and one output token")]
    Empty,
    /// Engines died while they ran it, once it alone.
    #[error(
        "the engine ended when it ran this request, more than once; it is refused for {left_s} seconds more"
    )]
    Quarantined {
        /// For how long still, in seconds.
        left_s: u64,
    },
    /// The engine's thread has ended.
    #[error("the engine has stopped")]
    Stopped,
}

/// Why a request that was taken has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// Its step failed, and failed again when it was alone.
    #[error(transparent)]
    Backend(Arc<BackendError>),
    /// The model's code panicked.
    #[error("the model's code panicked")]
    Panicked,
    /// The rules for what it may write failed.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// Its deadline passed.
    #[error("the request ran out of time")]
    Expired,
    /// It was not begun for as long as it would wait.
    #[error("the request waited in line for {} s and was not begun", .most.as_secs_f64())]
    Waited {
        /// How long it would wait.
        most: Duration,
        /// When there should be room for it, in seconds: the line's tokens by the tokens that are run each second.
        retry_after_s: u64,
    },
    /// The engine was told to end everything.
    #[error("the server stopped before the request was answered")]
    GivenUp,
}

impl Failure {
    /// Whether the model wrote no numbers.
    pub fn is_non_finite(&self) -> bool {
        matches!(self, Self::Backend(error) if matches!(**error, BackendError::NonFinite))
    }
}
