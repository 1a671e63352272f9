//! Parts of bodies that several interfaces of this module share.

use judge::Usage;
use serde::Serialize;
use utoipa::ToSchema;

use super::scorer::SampleScore;
use crate::dialects::openai::PromptDetails;

/// Figures of a sample in SGLang's own form.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MetaInfo {
    /// Tokens of the prompt.
    prompt_tokens: usize,
}

impl MetaInfo {
    pub(super) fn of(scored: &SampleScore) -> Self {
        Self { prompt_tokens: scored.usage.prompt_tokens }
    }
}

/// Token counts.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct ScoreUsage {
    /// Tokens of all prompts.
    prompt_tokens: usize,
    /// The same as `prompt_tokens`: no text is returned.
    total_tokens: usize,
    /// Always 0.
    completion_tokens: usize,
}

impl ScoreUsage {
    pub(super) fn of(scored: &[SampleScore]) -> Self {
        let prompt_tokens = scored.iter().map(|scored| scored.usage.prompt_tokens).sum();
        Self { prompt_tokens, total_tokens: prompt_tokens, completion_tokens: 0 }
    }
}

/// Token counts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokensRead {
    /// Tokens of all prompts.
    prompt_tokens: usize,
    /// The same as `prompt_tokens`: no text is returned.
    total_tokens: usize,
}

impl TokensRead {
    pub(super) fn of(usages: impl Iterator<Item = Usage>) -> Self {
        let prompt_tokens = usages.map(|usage| usage.prompt_tokens).sum();
        Self { prompt_tokens, total_tokens: prompt_tokens }
    }
}

/// Token counts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DecisionsUsage {
    /// Tokens of all prompts.
    prompt_tokens: usize,
    /// The same as `prompt_tokens`: no text is returned.
    total_tokens: usize,
    /// Details of the prompt tokens.
    prompt_tokens_details: PromptDetails,
}

impl DecisionsUsage {
    pub(super) fn of(usages: impl Iterator<Item = Usage>) -> Self {
        let Usage { prompt_tokens, cached_tokens, .. } =
            usages.fold(Usage::default(), |sum, usage| sum + usage);
        let prompt_tokens_details = PromptDetails { cached_tokens };
        Self { prompt_tokens, total_tokens: prompt_tokens, prompt_tokens_details }
    }
}
