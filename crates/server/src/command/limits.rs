//! What a request may hold, as it is said on the command line.

use clap::Args;

use super::seconds;

/// What a request may hold.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// How deep objects and lists may stand in each other.
    #[arg(long, default_value_t = 32)]
    pub(crate) max_json_depth: usize,
    /// The most members of an object.
    #[arg(long, default_value_t = 4096)]
    pub(crate) max_json_members: usize,
    /// The most elements of a list.
    #[arg(long, default_value_t = 65_536)]
    pub(crate) max_json_elements: usize,
    /// Text in all strings together, images left out, in mebibytes.
    #[arg(long, default_value_t = 8)]
    pub(crate) max_text_mib: usize,
    /// The most messages of a conversation.
    #[arg(long, default_value_t = 256)]
    pub(crate) max_messages: usize,
    /// The most parts of a message: as many images as there may be, with text between.
    #[arg(long, default_value_t = 512)]
    pub(crate) max_parts: usize,
    /// The most responses to one question of `POST /reward`: 64 make 4032 comparisons.
    #[arg(long, default_value_t = 64)]
    pub(crate) max_responses: usize,
    /// The most questions of one `POST /reward`.
    #[arg(long, default_value_t = 64)]
    pub(crate) max_reward_prompts: usize,
    /// The most images and frames of one question or conversation. Each takes hundreds of tokens, so that more cannot be meant.
    #[arg(long, default_value_t = 256)]
    pub(crate) max_images: usize,
    /// The most images and frames of a request with many questions.
    #[arg(long, default_value_t = 1024)]
    pub(crate) max_batch_images: usize,
    /// The largest image file, in mebibytes.
    #[arg(long, default_value_t = 20)]
    pub(crate) max_image_mib: usize,
    /// The most pixels of an image, in millions; sixteen times as many are the most of all images of a question.
    #[arg(long, default_value_t = 64)]
    pub(crate) max_megapixels: u64,
    /// The longest side of an image, in pixels.
    #[arg(long, default_value_t = 16_384)]
    pub(crate) max_image_side: u32,
    /// The longer side of an image by the shorter one.
    #[arg(long, default_value_t = 200)]
    pub(crate) max_image_aspect: u32,
    /// Memory for images while they are decoded, in mebibytes; images for which there is no room wait.
    #[arg(long, default_value_t = 2048)]
    pub(crate) decode_memory_mib: u64,
    /// How long an image may take to decode, in seconds.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub(crate) decode_timeout_s: f64,
    /// The most `max_tokens` that our own routes take. Those of OpenAI's interface take any number for all the room there is.
    #[arg(long, default_value_t = 4096)]
    pub(crate) max_output_tokens: usize,
}
