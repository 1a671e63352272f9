//! Of what a model is made, for telling how much work it is.

/// The parts of a model that cost time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelSize {
    /// Weights of the products of all layers of the decoder.
    pub decoder_weights: usize,
    /// Weights of the product that makes logits.
    pub head_weights: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Width of all query heads of a layer together.
    pub attention_width: usize,
    /// Numbers that are kept of each position, in all layers.
    pub cached_numbers: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Weights of the products of all layers of the vision tower.
    pub tower_weights: usize,
    /// Layers of the vision tower.
    pub tower_layers: usize,
    /// Width of the vision tower.
    pub tower_width: usize,
    /// Pixels along a tile's side.
    pub tile_size: usize,
    /// Patches of a tile.
    pub patches: usize,
    /// Weights of the projector.
    pub projector_weights: usize,
}
