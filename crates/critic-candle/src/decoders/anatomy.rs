//! What a configuration says about a decoder.

use kernels::Heads;

use super::DecoderNames;
use crate::{
    error::LoadError,
    layers::{Activation, ComputeDevice},
    parallel::Shard,
    weights::Weights,
};

/// Columns of matrices on a GPU are read by eights.
const GPU_COLUMNS: usize = 8;

/// A decoder, measured: grouped-query attention, rotary positions, gated MLP.
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
    /// Whether the head uses the embedding's weights.
    pub(crate) tied: bool,
    /// Whether a head of other weights counts all the same where it is stored, as in transformers 5.
    pub(crate) stored_head_counts: bool,
}

impl TextAnatomy {
    /// Whether the embeddings of `weights` are the head, too: where there is no other, since what converts checkpoints clones the
    /// embeddings then, whatever the configuration says, and where the configuration says so.
    pub(crate) fn ties_head(&self, weights: &Weights, names: DecoderNames) -> bool {
        let table = names.embedding();
        !weights.contains(names.head)
            || self.tied && (!self.stored_head_counts || weights.are_equal(&table, names.head))
    }

    /// The heads of its attention.
    pub(crate) fn heads(&self) -> Heads {
        Heads { heads: self.heads, kv_heads: self.kv_heads, size: self.head_size }
    }

    /// Weights of the products of all layers.
    pub(crate) fn product_weights(&self) -> usize {
        let Self { hidden_size, intermediate_size, heads, kv_heads, head_size, .. } = self;
        let attention = 2 * hidden_size * (heads + kv_heads) * head_size;
        self.layers * (attention + 3 * hidden_size * intermediate_size)
    }

    /// Bytes of keys and values of one position in all layers, for numbers of `width` bytes.
    pub(crate) fn cache_bytes_per_position(&self, width: usize) -> usize {
        2 * self.layers * self.kv_heads * self.head_size * width
    }

    /// The decoder as the rank that has `shard` of it attends and activates.
    pub(crate) fn part(&self, shard: Shard) -> Self {
        Self {
            heads: shard.of(self.heads).len(),
            kv_heads: shard.of(self.kv_heads).len(),
            intermediate_size: shard.of(self.intermediate_size).len(),
            ..self.clone()
        }
    }

    /// Whether the decoder, which the configuration `file` describes, can be split over ranks on `devices`.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`], which says what stands against it.
    pub(crate) fn check_split(&self, devices: &[ComputeDevice], file: &str) -> Result<(), LoadError> {
        let ranks = devices.len();
        let on_gpus = devices.iter().any(|device| matches!(device, ComputeDevice::Gpu(_)));
        let wide_unit = if on_gpus && ranks > 1 { GPU_COLUMNS } else { 1 };
        let wanted = [
            // With whole key heads a rank has whole groups of the query heads that share them.
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
