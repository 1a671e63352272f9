//! The sizes of a model, for estimating how much work a step is.

/// The sizes that determine a model's compute and memory traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelSize {
    /// Weights of the matrix products of all decoder layers.
    pub decoder_weights: usize,
    /// Weights of the matrix product that computes logits.
    pub head_weights: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Query heads of a layer times head size.
    pub attention_width: usize,
    /// Numbers in the key/value cache for each position, over all layers.
    pub cached_numbers: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Weights of the matrix products of all layers of the vision tower.
    pub tower_weights: usize,
    /// Layers of the vision tower.
    pub tower_layers: usize,
    /// Hidden size of the vision tower.
    pub tower_width: usize,
    /// Pixels along a tile's side.
    pub tile_size: usize,
    /// Patches of a tile.
    pub patches: usize,
    /// Weights of the projector.
    pub projector_weights: usize,
}
