//! Options of `gavel serve` for limits on the content of requests.

use clap::Args;

use super::numbers::{MANY, MOST_MIB, some_seconds, whole};

/// The deepest JSON that the parser reads, by its own limit.
const DEEPEST: u64 = 127;

/// The most images of a question or a request, of which each may have [`MOST_MEGAPIXELS`].
const MOST_IMAGES: u64 = 1 << 16;

/// The most pixels of an image, in millions: each takes some bytes while it is decoded.
const MOST_MEGAPIXELS: u64 = 1 << 16;

/// The longest side of an image, in pixels: it may be padded to a square.
const MOST_SIDE: u64 = 1 << 20;

/// Limits on the content of requests.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// How deep JSON objects and lists may be nested.
    #[arg(long, default_value_t = 32, value_parser = whole::<1, DEEPEST, usize>)]
    pub(crate) max_json_depth: usize,
    /// The most members of a JSON object.
    #[arg(long, default_value_t = 4096, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_json_members: usize,
    /// The most elements of a JSON list.
    #[arg(long, default_value_t = 65_536, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_json_elements: usize,
    /// The most values of a body in JSON, at all depths together.
    #[arg(long, default_value_t = 1 << 20, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_json_values: usize,
    /// Text in all strings together, without images, in mebibytes.
    #[arg(long, default_value_t = 8, value_parser = whole::<1, MOST_MIB, usize>)]
    pub(crate) max_text_mib: usize,
    /// The most messages in a conversation.
    #[arg(long, default_value_t = 256, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_messages: usize,
    /// The most parts of a message: enough for as many images as allowed, with text between them.
    #[arg(long, default_value_t = 512, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_parts: usize,
    /// The most responses to one question of `POST /reward`: 64 make 4032 comparisons.
    #[arg(long, default_value_t = 64, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_responses: usize,
    /// The most questions of one `POST /reward`.
    #[arg(long, default_value_t = 64, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_reward_prompts: usize,
    /// The most images and frames of one question or conversation; each takes hundreds of tokens.
    #[arg(long, default_value_t = 256, value_parser = whole::<0, MOST_IMAGES, usize>)]
    pub(crate) max_images: usize,
    /// The most images and frames of a request with many questions: a trainer's batch of a thousand samples may have
    /// four each. What their files take is bounded by `max_body_mib`.
    #[arg(long, default_value_t = 4096, value_parser = whole::<0, MOST_IMAGES, usize>)]
    pub(crate) max_batch_images: usize,
    /// The largest image file, in mebibytes.
    #[arg(long, default_value_t = 20, value_parser = whole::<1, MOST_MIB, usize>)]
    pub(crate) max_image_mib: usize,
    /// The most pixels of an image, in millions; all images of a question together may have sixteen times as many.
    #[arg(long, default_value_t = 64, value_parser = whole::<1, MOST_MEGAPIXELS, u64>)]
    pub(crate) max_megapixels: u64,
    /// The longest side of an image, in pixels.
    #[arg(long, default_value_t = 16_384, value_parser = whole::<1, MOST_SIDE, u32>)]
    pub(crate) max_image_side: u32,
    /// The largest ratio of an image's longer side to its shorter one.
    #[arg(long, default_value_t = 200, value_parser = whole::<1, MANY, u32>)]
    pub(crate) max_image_aspect: u32,
    /// Memory for decoding images, in mebibytes; images that do not fit wait.
    #[arg(long, default_value_t = 2048, value_parser = whole::<1, MOST_MIB, u64>)]
    pub(crate) decode_memory_mib: u64,
    /// How long decoding an image may take, in seconds.
    #[arg(long, default_value_t = 5.0, value_parser = some_seconds)]
    pub(crate) decode_timeout_s: f64,
    /// The largest `max_tokens` that Gavel's own routes accept. OpenAI's routes accept any number, and write as
    /// much as fits into the context.
    #[arg(long, default_value_t = 4096, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_output_tokens: usize,
}
