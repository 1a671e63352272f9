//! The sizes and settings of a decoder.

use kernels::Heads;
use kernels_cuda::{MOST_GROUP, MOST_HEAD_SIZE};

use super::{DecoderKind, DecoderNames, DecoderTensor};
use crate::{
    device::ComputeDevice,
    error::LoadError,
    gpu_limits::{GPU_COLUMNS, RefusedSize, has_gpu},
    layers::Activation,
    parallel::Shard,
    weights::Weights,
};

/// The sizes and settings of a decoder with grouped-query attention, rotary positions and a gated MLP.
#[derive(Debug, Clone)]
pub(crate) struct DecoderConfig {
    pub(crate) kind: &'static DecoderKind,
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

impl DecoderConfig {
    /// Whether the head uses the embedding's weights: where no head is stored, whatever the configuration says,
    /// since converters then copy the embedding; and where the configuration says so, unless another head is stored
    /// that counts.
    pub(crate) fn ties_head(&self, weights: &Weights, names: DecoderNames) -> bool {
        let table = names.embedding();
        !weights.contains(names.head)
            || self.tied && (!self.stored_head_counts || weights.are_equal(&table, names.head))
    }

    /// All tensors of the decoder with these `names`, in the order of a forward pass. A tied decoder has no head of
    /// its own.
    pub(crate) fn tensors(&self, names: DecoderNames) -> Vec<DecoderTensor> {
        (self.kind.tensors)(self, names)
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

    /// Checks that the decoder, configured in `file`, can be split over ranks on `devices`, and that kernels can run it
    /// where these are GPUs.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] with the first size that is too large or not divisible.
    pub(crate) fn check_split(&self, devices: &[ComputeDevice], file: &str) -> Result<(), LoadError> {
        let ranks = devices.len();
        let on_gpus = has_gpu(devices);
        let columns = if on_gpus { GPU_COLUMNS } else { 1 };
        let sizes = [
            // With whole key heads, a rank also has all query heads that share them.
            ("num_key_value_heads", self.kv_heads, ranks),
            ("num_attention_heads", self.heads, ranks),
            ("intermediate_size", self.intermediate_size, ranks * columns),
        ];
        let uneven = sizes.into_iter().find(|(_, found, unit)| !found.is_multiple_of(*unit));
        let uneven = uneven.map(|(key, found, unit)| {
            let expected = format!("a multiple of {unit}, to be split over {ranks} ranks");
            RefusedSize { key, found, expected }
        });
        let refused = if on_gpus { self.unsupported_on_gpus().or(uneven) } else { uneven };
        refused.map_or(Ok(()), |size| Err(size.in_file(file)))
    }

    /// The first size for which there are no kernels on GPUs.
    fn unsupported_on_gpus(&self) -> Option<RefusedSize> {
        let refused = |key, found, expected| Some(RefusedSize { key, found, expected });
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("head_dim", self.head_size),
            ("intermediate_size", self.intermediate_size),
        ];
        if let Some((key, found)) = sizes.into_iter().find(|(_, found)| !found.is_multiple_of(GPU_COLUMNS)) {
            return refused(key, found, format!("a multiple of {GPU_COLUMNS} on a GPU"));
        }
        if self.head_size > MOST_HEAD_SIZE {
            return refused("head_dim", self.head_size, format!("at most {MOST_HEAD_SIZE} on a GPU"));
        }
        if self.heads > self.kv_heads * MOST_GROUP {
            let expected = format!("at most {MOST_GROUP} for each of num_key_value_heads on a GPU");
            return refused("num_attention_heads", self.heads, expected);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoders::QWEN2;

    /// A decoder that runs on GPUs.
    const SMALL: DecoderConfig = DecoderConfig {
        kind: &QWEN2,
        hidden_size: 64,
        intermediate_size: 176,
        layers: 3,
        heads: 32,
        kv_heads: 2,
        head_size: 128,
        vocabulary: 704,
        context_length: 512,
        norm_epsilon: 1e-6,
        rope_theta: 1e6,
        activation: Activation::Silu,
        tied: false,
        stored_head_counts: false,
    };

    #[test]
    fn sizes_for_which_gpus_have_no_kernels_are_named() {
        let refused = |config: DecoderConfig| config.unsupported_on_gpus().map(|size| (size.key, size.found));
        assert_eq!(refused(SMALL), None);
        let refusals = [
            (DecoderConfig { hidden_size: 60, ..SMALL }, ("hidden_size", 60)),
            (DecoderConfig { head_size: 20, ..SMALL }, ("head_dim", 20)),
            (DecoderConfig { head_size: 136, ..SMALL }, ("head_dim", 136)),
            (DecoderConfig { intermediate_size: 172, ..SMALL }, ("intermediate_size", 172)),
            (DecoderConfig { heads: 34, ..SMALL }, ("num_attention_heads", 34)),
        ];
        for (config, wanted) in refusals {
            assert_eq!(refused(config), Some(wanted));
        }
    }

    #[test]
    fn ranks_on_the_processor_split_whole_numbers_of_any_size() {
        let splits = |config: &DecoderConfig, ranks| {
            config.check_split(&vec![ComputeDevice::Kernels; ranks], "config.json").is_ok()
        };
        let odd = DecoderConfig { hidden_size: 60, intermediate_size: 172, head_size: 136, ..SMALL };
        assert!(splits(&odd, 1) && splits(&odd, 2) && !splits(&odd, 4));
    }
}
