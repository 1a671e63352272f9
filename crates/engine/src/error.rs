//! Why the engine did not take or could not finish a request.

use std::{fmt, sync::Arc};

use critic::BackendError;

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The waiting line is full.
    #[error("{waiting} requests are waiting already")]
    Overloaded {
        /// Length of the waiting line.
        waiting: usize,
        /// When to try again, in seconds.
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
    /// The engine's thread has ended.
    #[error("the engine has stopped")]
    Stopped,
}

/// The failure of a step, shared by every sequence that was in it.
#[derive(Debug, Clone)]
pub struct Failure(pub Arc<BackendError>);

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.as_ref())
    }
}
