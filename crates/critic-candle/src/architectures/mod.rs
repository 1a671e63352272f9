//! Every architecture that can be loaded, one folder each, and what the rest of the crate knows of any of them.

pub(crate) mod llava_onevision;

use std::{fmt::Debug, sync::Arc};

use candle_core::{Result, Tensor};
use critic::{Batch, EncodeError, Encoded, ImageTiling, Processor, TokenId, Visual};

use crate::{
    chat::Segment,
    decoders::{DecoderNames, TextAnatomy},
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

/// What a configuration describes, and how its checkpoint becomes a critic.
pub(crate) trait Architecture: Debug + Send + Sync {
    /// What it is called, and whose layout its files have.
    fn name(&self) -> &'static str;

    /// The vision tower.
    fn vision(&self) -> &VisionAnatomy;

    /// The decoder.
    fn text(&self) -> &TextAnatomy;

    /// The same, with contexts of at most so many tokens.
    fn limited_to(&self, context_length: usize) -> Arc<dyn Architecture>;

    /// Weights of the products between tower and decoder.
    fn projector_weights(&self) -> usize;

    /// Tiles that an image of `height` x `width` pixels is cut into when it is the only one.
    fn tiles(&self, height: usize, width: usize) -> usize;

    /// How images are cut, in a few words.
    fn describe_images(&self) -> String;

    /// What its tensors are called in GGUF files.
    fn gguf_naming(&self) -> &'static GgufNaming;

    /// What the decoder's tensors are called in `weights`.
    fn decoder_names(&self, weights: &Weights) -> DecoderNames;

    /// The folder or hub repository of the vision tower, where the checkpoint of these `weights` does not hold it itself.
    fn tower_elsewhere(&self, weights: &Weights) -> Option<&str>;

    /// What encodes prompts, with images from `loader`, of which `cuts` keeps some.
    ///
    /// # Errors
    /// [`LoadError`] when a file beside the weights is missing or not understood.
    fn read_processor(
        &self,
        source: &Source,
        tokenizer: Tokenizer,
        loader: Loader,
        cuts: TileCache,
    ) -> std::result::Result<Arc<dyn SegmentEncoder>, LoadError>;

    /// The model, whose steps have at most `max_step_tokens` tokens.
    ///
    /// # Errors
    /// [`LoadError`] when a tensor is missing or has another shape, or the GPU fails.
    fn read_model(
        &self,
        files: ModelFiles<'_>,
        max_step_tokens: usize,
    ) -> std::result::Result<Box<dyn Model>, LoadError>;
}

/// What a model is read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelFiles<'a> {
    /// The files beside the weights.
    pub(crate) source: &'a Source,
    /// The weights, for one rank.
    pub(crate) weights: &'a Weights,
    /// Those of a vision tower that is kept elsewhere.
    pub(crate) tower: Option<&'a Weights>,
}

/// A processor that takes a prompt in any format, too.
pub trait SegmentEncoder: Processor + Debug {
    /// Encodes a prompt that is cut into segments already.
    ///
    /// # Errors
    /// [`EncodeError`] when an image cannot be read.
    fn encode_segments(
        &self,
        segments: &[Segment<'_>],
        tiling: ImageTiling,
    ) -> std::result::Result<Encoded, EncodeError>;

    /// The control token that is written as `text`.
    fn control(&self, text: &str) -> Option<TokenId>;
}

/// The parts of a model one by one, which are compared with other implementations.
pub trait ModelParts: Debug + Send {
    /// Size of a hidden state of the decoder.
    fn hidden_size(&self) -> usize;

    /// Normalised pixels `[N, 3, size, size]` of tiles, each `[size, size, 3]`.
    ///
    /// # Errors
    /// What the tensor library says.
    fn pixels(&self, tiles: &[&[u8]]) -> Result<Tensor>;

    /// The tower's residual stream for `pixels`: after the embedding and after each layer, `[N, P, E]` each. The last
    /// one is what the projector gets.
    ///
    /// # Errors
    /// What the tensor library says.
    fn hidden_states(&self, pixels: &Tensor) -> Result<Vec<Tensor>>;

    /// Features `[N, P, E]` of the tower to vectors `[N, P, C]` of the decoder.
    ///
    /// # Errors
    /// What the tensor library says.
    fn project(&self, features: &Tensor) -> Result<Tensor>;

    /// For each of `visuals` the vectors `[length, C]` that replace its placeholders. Tiles of all of them go through
    /// the tower together.
    ///
    /// # Errors
    /// What the tensor library says.
    fn features(&self, visuals: &[&Visual]) -> Result<Vec<Tensor>>;
}

/// A loaded model, as whoever runs its steps knows it.
pub(crate) trait Model: ModelParts {
    /// Which rank of a split decoder it is part of.
    fn rank(&self) -> &Rank;

    /// The decoder, all of it.
    fn text(&self) -> &TextAnatomy;

    /// Whether the checkpoint has a reward head.
    fn has_reward_head(&self) -> bool;

    /// What [`ModelParts::features`] says, where the model computes.
    fn feature_rows(&self, visuals: &[&Visual]) -> Result<Vec<Rows>>;

    /// Runs as many tiles as go through the tower at once, of no image.
    fn run_most_tiles(&self) -> Result<()>;

    /// The most bytes that features of one visual take while they are made.
    fn most_bytes_of_visual(&self) -> usize;

    /// The embedded tokens `[T, C]` of `batch`. Rows of placeholders are those of some token: features are to go there.
    fn embed(&self, batch: &Batch) -> Result<Rows>;

    /// Runs embedded rows `x` `[T, C]` of `batch` through the decoder; they become the hidden states.
    fn decode(&mut self, x: &mut Rows, batch: &Batch, caches: &mut [LayerCache]) -> Result<()>;

    /// Hidden states `[rows, C]`, normalised for the head.
    fn normalise(&self, hidden: &Rows) -> Result<Rows>;

    /// Normalised hidden states `[rows, C]` to the logits of each row, `[V]` or this rank's part of them.
    fn logits(&self, normed: &Rows) -> Result<Vec<Vec<f32>>>;

    /// Normalised hidden states `[rows, C]` to the reward of each row, one number.
    fn rewards(&self, normed: &Rows) -> Result<Vec<Vec<f32>>>;

    /// Where the model computes.
    fn device(&self) -> &ComputeDevice {
        &self.rank().device
    }

    /// The decoder as this rank has it.
    fn own_text(&self) -> TextAnatomy {
        self.text().part(self.rank().shard)
    }
}
