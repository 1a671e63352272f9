//! The sizes and settings of a vision tower.

use crate::{
    device::ComputeDevice,
    error::LoadError,
    gpu_limits::{GPU_COLUMNS, GPU_INPUTS, RefusedSize, has_gpu},
    layers::Activation,
};

/// The sizes and settings of a tower: a transformer over the patches of square tiles.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VisionConfig {
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

impl VisionConfig {
    /// The tower `siglip-so400m-patch14-384` of the published critics. The native code builds 27 layers and deletes the
    /// last.
    pub(crate) const SO400M: Self = Self {
        hidden_size: 1152,
        intermediate_size: 4304,
        layers: 26,
        heads: 16,
        image_size: 384,
        patch_size: 14,
        norm_epsilon: 1e-6,
        activation: Activation::GeluTanh,
    };

    /// Number of weights of the matrix products of all layers.
    pub(crate) fn product_weights(&self) -> usize {
        self.layers * (4 * self.hidden_size.pow(2) + 2 * self.hidden_size * self.intermediate_size)
    }

    /// Patches along one side of a tile; pixels beyond the last whole patch are ignored.
    pub(crate) fn patches_per_side(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Checks that the tower, configured in `file`, can be run on `devices`.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] with the first size for which there are no kernels.
    pub(crate) fn check_devices(&self, devices: &[ComputeDevice], file: &str) -> Result<(), LoadError> {
        let refused = if has_gpu(devices) { self.unsupported_on_gpus() } else { None };
        refused.map_or(Ok(()), |size| Err(size.in_file(file)))
    }

    /// The first size for which there are no kernels on GPUs, by its key in `vision_config`.
    fn unsupported_on_gpus(&self) -> Option<RefusedSize> {
        let sizes = [
            ("hidden_size", self.hidden_size, self.hidden_size, GPU_COLUMNS),
            ("intermediate_size", self.intermediate_size, self.intermediate_size, GPU_INPUTS),
            ("num_attention_heads", self.heads, self.hidden_size / self.heads.max(1), GPU_COLUMNS),
            ("patch_size", self.patch_size, 3 * self.patch_size.pow(2), GPU_INPUTS),
        ];
        let refused = sizes.into_iter().find(|(_, _, numbers, unit)| !numbers.is_multiple_of(*unit));
        refused.map(|(key, found, _, unit)| {
            let expected = format!("a tower whose {key} leads to a multiple of {unit} numbers on a GPU");
            RefusedSize { key, found, expected }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOWER: VisionConfig = VisionConfig::SO400M;

    #[test]
    fn sizes_for_which_gpus_have_no_kernels_are_named() {
        let refused = |tower: VisionConfig| tower.unsupported_on_gpus().map(|size| (size.key, size.found));
        assert_eq!(refused(TOWER), None);
        for (tower, expected) in [
            (VisionConfig { hidden_size: 36, heads: 4, ..TOWER }, ("hidden_size", 36)),
            (VisionConfig { intermediate_size: 4302, ..TOWER }, ("intermediate_size", 4302)),
            (VisionConfig { heads: 32, ..TOWER }, ("num_attention_heads", 32)),
            (VisionConfig { patch_size: 15, ..TOWER }, ("patch_size", 15)),
        ] {
            assert_eq!(refused(tower), Some(expected));
        }
    }
}
