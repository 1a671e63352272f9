//! The sizes and settings of a vision tower.

use crate::layers::Activation;

/// The sizes and settings of a tower: a transformer over the patches of square tiles.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VisionAnatomy {
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    /// Layers that are run; a checkpoint may hold more.
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) image_size: usize,
    pub(crate) patch_size: usize,
    pub(crate) norm_epsilon: f64,
    pub(crate) activation: Activation,
}

impl VisionAnatomy {
    /// Number of weights of the matrix products of all layers.
    pub(crate) fn product_weights(&self) -> usize {
        self.layers * (4 * self.hidden_size.pow(2) + 2 * self.hidden_size * self.intermediate_size)
    }

    /// Patches along one side of a tile; pixels beyond the last whole patch are ignored.
    pub(crate) fn patches_per_side(&self) -> usize {
        self.image_size / self.patch_size
    }
}
