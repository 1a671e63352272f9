//! Token counts in bodies, as several interfaces write them.

use serde::Serialize;
use utoipa::ToSchema;

/// Details of the prompt tokens.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct PromptDetails {
    /// Tokens that were taken from the prefix cache.
    pub(crate) cached_tokens: usize,
}
