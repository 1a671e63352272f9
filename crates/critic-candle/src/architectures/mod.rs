//! Every architecture that can be loaded, one folder each, and the traits through which the rest of the crate uses
//! them.

pub(crate) mod llava_onevision;

use std::{fmt::Debug, sync::Arc};

use candle_core::{Result, Tensor};
use critic::{Batch, CacheScope, EncodeError, Encoded, ImageTiling, Processor, TokenId, Visual};

use crate::{
    chat::Segment,
    decoders::{DecoderNames, TextAnatomy, TokensOf},
    error::LoadError,
    image::{Loader, TileCache},
    kv_cache::LayerCache,
    layers::{ComputeDevice, Rows},
    parallel::Rank,
    source::Source,
    tokenizer::Tokenizer,
    vision::VisionAnatomy,
    weights::{GgufNaming, Weights},
};
pub use llava_onevision::{Geometry, Placement, VideoNewline};

/// The architecture that a configuration describes, and how its checkpoint is loaded.
pub(crate) trait Architecture: Debug + Send + Sync {
    /// Name of the architecture and of the layout of its files, for people.
    fn name(&self) -> &'static str;

    /// Sizes of the vision tower.
    fn vision(&self) -> &VisionAnatomy;

    /// Sizes of the decoder.
    fn text(&self) -> &TextAnatomy;

    /// The same architecture with `context_length` tokens of context.
    fn limited_to(&self, context_length: usize) -> Arc<dyn Architecture>;

    /// Number of weights of the matrix products between tower and decoder.
    fn projector_weights(&self) -> usize;

    /// Number of tiles that an image of `height` x `width` pixels is cut into when it is the only one of its prompt.
    fn tiles(&self, height: usize, width: usize) -> usize;

    /// A short description of how images are cut, for people.
    fn describe_images(&self) -> String;

    /// Names of its tensors in GGUF files.
    fn gguf_naming(&self) -> &'static GgufNaming;

    /// Names of the decoder's tensors in `weights`.
    fn decoder_names(&self, weights: &Weights) -> DecoderNames;

    /// The folder or hub repository of the vision tower where `weights` do not contain it; otherwise `None`.
    fn tower_elsewhere(&self, weights: &Weights) -> Option<&str>;

    /// Builds the processor, which loads images with `loader` and caches their tiles in `cuts`.
    ///
    /// # Errors
    /// [`LoadError`] when a file beside the weights is missing, damaged or not supported.
    fn read_processor(
        &self,
        source: &Source,
        tokenizer: Tokenizer,
        loader: Loader,
        cuts: TileCache,
    ) -> std::result::Result<Arc<dyn SegmentEncoder>, LoadError>;

    /// Loads the model, whose steps have at most `max_step_tokens` tokens.
    ///
    /// # Errors
    /// [`LoadError`] when a tensor is missing or has another shape, or the GPU fails.
    fn read_model(
        &self,
        files: ModelFiles<'_>,
        max_step_tokens: usize,
    ) -> std::result::Result<Box<dyn Model>, LoadError>;
}

/// The files that a model is loaded from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelFiles<'a> {
    /// The files beside the weights.
    pub(crate) source: &'a Source,
    /// The weights, for one rank.
    pub(crate) weights: &'a Weights,
    /// The weights of the vision tower, where the checkpoint does not contain it.
    pub(crate) tower: Option<&'a Weights>,
}

/// A processor that can also encode a prompt in any chat format.
pub trait SegmentEncoder: Processor + Debug {
    /// Encodes a prompt that is already cut into segments.
    ///
    /// # Errors
    /// [`EncodeError`] when an image cannot be read, a video is empty, or the text cannot be tokenised.
    fn encode_segments(
        &self,
        segments: &[Segment<'_>],
        tiling: ImageTiling,
        scope: CacheScope,
    ) -> std::result::Result<Encoded, EncodeError>;

    /// The control token that is written as `text`; `None` where the vocabulary has no such token.
    fn control(&self, text: &str) -> Option<TokenId>;
}

/// The parts of a model, which tests compare one by one with other implementations.
pub trait ModelParts: Debug + Send {
    /// Size of a hidden state of the decoder.
    fn hidden_size(&self) -> usize;

    /// Normalised pixels `[N, 3, size, size]` of image tiles, each of `[size, size, 3]` bytes.
    ///
    /// # Errors
    /// [`candle_core::Error`] when the computation fails.
    fn pixels(&self, tiles: &[&[u8]]) -> Result<Tensor>;

    /// The tower's residual stream for `pixels`: after the embedding and after each layer, `[N, P, E]` each. The last
    /// one is the projector's input.
    ///
    /// # Errors
    /// [`candle_core::Error`] when the computation fails.
    fn hidden_states(&self, pixels: &Tensor) -> Result<Vec<Tensor>>;

    /// Projects the tower's features `[N, P, E]` to vectors `[N, P, C]` of the decoder.
    ///
    /// # Errors
    /// [`candle_core::Error`] when the computation fails.
    fn project(&self, features: &Tensor) -> Result<Tensor>;

    /// For each of `visuals`, the vectors `[length, C]` that replace its placeholders. The tower runs on the tiles of
    /// several visuals at once.
    ///
    /// # Errors
    /// [`candle_core::Error`] when the computation fails.
    fn features(&self, visuals: &[&Visual]) -> Result<Vec<Tensor>>;
}

/// A loaded model, as the backend that runs its steps uses it.
pub(crate) trait Model: ModelParts {
    /// The rank that this part of a split decoder belongs to.
    fn rank(&self) -> &Rank;

    /// Sizes of the whole decoder, over all ranks.
    fn text(&self) -> &TextAnatomy;

    /// Whether the checkpoint has a reward head.
    fn has_reward_head(&self) -> bool;

    /// The same as [`ModelParts::features`], as rows on the model's device.
    fn feature_rows(&self, visuals: &[&Visual]) -> Result<Vec<Rows>>;

    /// Runs the largest batch of tiles through the tower and projector, with black tiles, so that working memory is
    /// allocated.
    fn run_most_tiles(&self) -> Result<()>;

    /// Upper bound of the bytes that the features of one visual take while they are computed.
    fn most_bytes_of_visual(&self) -> usize;

    /// The embedded tokens `[T, C]` of `batch`. Rows of placeholders have unspecified values, since features
    /// replace them.
    fn embed(&self, batch: &Batch) -> Result<Rows>;

    /// Runs the embedded rows `x` `[T, C]` of `batch` through the decoder; `x` becomes the hidden states of the
    /// wanted tokens, `[wanted, C]`.
    fn decode(
        &mut self,
        x: &mut Rows,
        wanted: TokensOf<'_>,
        batch: &Batch,
        caches: &mut [LayerCache],
    ) -> Result<()>;

    /// Applies the final norm to hidden states `[rows, C]`.
    fn normalise(&self, hidden: &Rows) -> Result<Rows>;

    /// The logits of each row of normalised hidden states `[rows, C]`: `[V]`, or this rank's part of the vocabulary.
    fn logits(&self, normed: &Rows) -> Result<Vec<Vec<f32>>>;

    /// The reward of each row of normalised hidden states `[rows, C]`, one number.
    fn rewards(&self, normed: &Rows) -> Result<Vec<Vec<f32>>>;

    /// The device that the model computes on.
    fn device(&self) -> &ComputeDevice {
        &self.rank().device
    }

    /// Sizes of this rank's part of the decoder.
    fn own_text(&self) -> TextAnatomy {
        self.text().part(self.rank().shard)
    }
}
