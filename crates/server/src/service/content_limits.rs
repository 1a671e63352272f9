//! Limits of the content of a request, as the handlers use them.

use clap::{Args, FromArgMatches};

use crate::{json::limits::JsonLimits, options::LimitOptions};

/// Limits of the content of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ContentLimits {
    /// Limits of its JSON.
    pub(crate) shape: JsonLimits,
    /// Maximum responses to one question of a request for rewards.
    pub(crate) responses: usize,
    /// Maximum questions of a request for rewards.
    pub(crate) reward_prompts: usize,
    /// Maximum value of `max_tokens` in the native dialect.
    pub(crate) output_tokens: usize,
}

impl From<&LimitOptions> for ContentLimits {
    fn from(options: &LimitOptions) -> Self {
        Self {
            shape: JsonLimits {
                depth: options.max_json_depth,
                members: options.max_json_members,
                elements: options.max_json_elements,
                values: options.max_json_values,
                text_bytes: options.max_text_mib << 20,
                messages: options.max_messages,
                parts: options.max_parts,
                images: options.max_images,
                batch_images: options.max_batch_images,
                image_bytes: options.max_image_mib << 20,
            },
            responses: options.max_responses,
            reward_prompts: options.max_reward_prompts,
            output_tokens: options.max_output_tokens,
        }
    }
}

impl Default for LimitOptions {
    /// The defaults of the command line.
    fn default() -> Self {
        let none = Self::augment_args(clap::Command::new("limits")).no_binary_name(true);
        let none = none.get_matches_from(Vec::<&str>::new());
        Self::from_arg_matches(&none).expect("every limit has a default")
    }
}
