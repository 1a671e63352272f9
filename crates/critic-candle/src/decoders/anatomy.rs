//! The sizes and settings of a decoder.

use kernels::Heads;

use super::DecoderNames;
use crate::{
    error::LoadError,
    layers::{Activation, ComputeDevice},
    parallel::Shard,
    weights::Weights,
};

/// GPU kernels read the columns of matrices in groups of this many.
const GPU_COLUMNS: usize = 8;

/// The sizes and settings of a decoder with grouped-query attention, rotary positions and a gated MLP.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TextAnatomy {
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_size: usize,
    pub(crate) vocabulary: usize,
    pub(crate) context_length: usize,
    pub(crate) norm_epsilon: f64,
    pub(crate) rope_theta: f64,
    pub(crate) activation: Activation,
    /// Whether the configuration says that the head uses the embedding's weights.
    pub(crate) tied: bool,
    /// Whether a stored head with other weights is used even if `tied`, as in transformers 5.
    pub(crate) stored_head_counts: bool,
}

impl TextAnatomy {
    /// Whether the head uses the embedding's weights: where no head is stored, whatever the configuration says,
    /// since converters then copy the embedding; and where the configuration says so, unless another head is stored
    /// that counts.
    pub(crate) fn ties_head(&self, weights: &Weights, names: DecoderNames) -> bool {
        let table = names.embedding();
        !weights.contains(names.head)
            || self.tied && (!self.stored_head_counts || weights.are_equal(&table, names.head))
    }

    /// The attention heads.
    pub(crate) fn heads(&self) -> Heads {
        Heads { heads: self.heads, kv_heads: self.kv_heads, size: self.head_size }
    }

    /// Number of weights of the matrix products of all layers.
    pub(crate) fn product_weights(&self) -> usize {
        let Self { hidden_size, intermediate_size, heads, kv_heads, head_size, .. } = self;
        let attention = 2 * hidden_size * (heads + kv_heads) * head_size;
        self.layers * (attention + 3 * hidden_size * intermediate_size)
    }

    /// Bytes of the keys and values of one position in all layers, for numbers of `width` bytes.
    pub(crate) fn cache_bytes_per_position(&self, width: usize) -> usize {
        2 * self.layers * self.kv_heads * self.head_size * width
    }

    /// The decoder with the numbers of heads and of MLP units of the rank with this `shard`.
    pub(crate) fn part(&self, shard: Shard) -> Self {
        Self {
            heads: shard.of(self.heads).len(),
            kv_heads: shard.of(self.kv_heads).len(),
            intermediate_size: shard.of(self.intermediate_size).len(),
            ..self.clone()
        }
    }

    /// Checks that the decoder, configured in `file`, can be split over ranks on `devices`.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] with the first size that is not divisible.
    pub(crate) fn check_split(&self, devices: &[ComputeDevice], file: &str) -> Result<(), LoadError> {
        let ranks = devices.len();
        let on_gpus = devices.iter().any(|device| matches!(device, ComputeDevice::Gpu(_)));
        let wide_unit = if on_gpus && ranks > 1 { GPU_COLUMNS } else { 1 };
        let wanted = [
            // With whole key heads, a rank also has all query heads that share them.
            ("num_key_value_heads", self.kv_heads, ranks),
            ("num_attention_heads", self.heads, ranks),
            ("intermediate_size", self.intermediate_size, ranks * wide_unit),
        ];
        for (key, found, unit) in wanted {
            if !found.is_multiple_of(unit) {
                return Err(LoadError::Unsupported {
                    file: file.into(),
                    key,
                    found: found.to_string(),
                    expected: format!("a multiple of {unit}, to be split over {ranks} ranks"),
                });
            }
        }
        Ok(())
    }
}
