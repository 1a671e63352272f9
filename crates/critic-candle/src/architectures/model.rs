//! A loaded model, as tests and the backend that runs its steps use it.

use std::fmt::Debug;

use candle_core::{Result, Tensor};
use critic::{Batch, Visual};

use crate::{
    decoders::DecoderConfig,
    device::ComputeDevice,
    kv_cache::{LayerCache, TokensOf},
    parallel::Rank,
    rows::Rows,
    weights::Weights,
};

/// The weights that a model is loaded from, for one rank.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelWeights<'a> {
    /// Those of the checkpoint.
    pub(crate) weights: &'a Weights,
    /// Those of the vision tower, where the checkpoint does not contain it.
    pub(crate) tower: Option<&'a Weights>,
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
    fn text(&self) -> &DecoderConfig;

    /// Whether the checkpoint has a reward head.
    fn has_reward_head(&self) -> bool;

    /// The same as [`ModelParts::features`], as rows on the model's device.
    fn feature_rows(&self, visuals: &[&Visual]) -> Result<Vec<Rows>>;

    /// Runs the largest batch of tiles through the tower and projector, with black tiles, so that working memory is
    /// allocated and kernels are loaded.
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

    /// The reward of each row of normalised hidden states `[rows, C]`.
    fn rewards(&self, normed: &Rows) -> Result<Vec<f32>>;

    /// The device that the model computes on.
    fn device(&self) -> &ComputeDevice {
        &self.rank().device
    }

    /// Sizes of this rank's part of the decoder.
    fn own_text(&self) -> DecoderConfig {
        self.text().part(self.rank().shard)
    }
}
