//! Parts of bodies that several interfaces of this module share.

use judge::Usage;
use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::scorer::SampleScore;
use crate::{
    dialects::{parameters, usage::PromptDetails},
    error::{ApiError, ErrorCode},
    extract::json_body::JsonBytes,
};

/// The members in which other servers take the images of a sample.
const IMAGES: [&str; 7] =
    ["image", "images", "image_data", "multi_modal_data", "video", "videos", "video_data"];

/// Parses the body of a route of reward models.
///
/// # Errors
/// When it is invalid, or has images in members that are not read: unlike a parameter that is ignored, an image that is
/// left out would make the reward that of another question.
pub(super) fn parse_rewarded<T: DeserializeOwned>(body: &JsonBytes) -> Result<T, ApiError> {
    let parsed = body.parse()?;
    let members = parameters::members_if(body, |name| IMAGES.contains(&name))?.unwrap_or_default();
    match parameters::first_asked(IMAGES.map(|name| (name, members.get(name)))) {
        Some(name) => {
            let message = format!(
                "Images are not read from {name} here: give them in the text, as data URLs, in the parts of a message, or \
                 in the label."
            );
            Err(ApiError::invalid(name, message).with_code(ErrorCode::UnsupportedParameter))
        }
        None => Ok(parsed),
    }
}

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

/// Token counts under the names of OpenAI's interface and of SGLang's.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DecisionsUsage {
    /// Tokens of all prompts.
    input_tokens: usize,
    /// Details of these tokens.
    input_tokens_details: DecisionsInputDetails,
    /// Always 0: no text is returned.
    output_tokens: usize,
    /// Details of these tokens.
    output_tokens_details: DecisionsOutputDetails,
    /// The same as `input_tokens`.
    total_tokens: usize,
    /// The same as `input_tokens`.
    prompt_tokens: usize,
    /// Details of the prompt tokens.
    prompt_tokens_details: PromptDetails,
    /// Always 0.
    completion_tokens: usize,
}

/// Details of the tokens of prompts.
#[derive(Debug, Serialize, ToSchema)]
struct DecisionsInputDetails {
    /// Tokens that were taken from the prefix cache.
    cached_tokens: usize,
    /// Always 0: what is written to the cache is not counted.
    cache_write_tokens: usize,
}

/// Details of returned tokens.
#[derive(Debug, Serialize, ToSchema)]
struct DecisionsOutputDetails {
    /// Always 0.
    reasoning_tokens: usize,
}

impl DecisionsUsage {
    pub(super) fn of(usages: impl Iterator<Item = Usage>) -> Self {
        let Usage { prompt_tokens, cached_tokens, .. } =
            usages.fold(Usage::default(), |sum, usage| sum + usage);
        Self {
            input_tokens: prompt_tokens,
            input_tokens_details: DecisionsInputDetails { cached_tokens, cache_write_tokens: 0 },
            output_tokens: 0,
            output_tokens_details: DecisionsOutputDetails { reasoning_tokens: 0 },
            total_tokens: prompt_tokens,
            prompt_tokens,
            prompt_tokens_details: PromptDetails { cached_tokens },
            completion_tokens: 0,
        }
    }
}
