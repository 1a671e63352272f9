//! Upper bounds of every program's speed on this machine: the work that a figure needs, at the rates that were
//! measured.

use critic::ModelSize;
use serde::Serialize;

use crate::weight_form::Widths;

/// The machine's limits, measured in the same run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MachineLimits {
    /// Memory bandwidth for reads, in 10^9 bytes per second.
    pub reading_gb_per_s: f64,
    /// Arithmetic throughput in 10^9 operations per second, a multiply-add being two: on 32-bit floats, or on a
    /// GPU in bf16.
    pub arithmetic_gflops: f64,
}

/// The machine's limits and the model's size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) limits: MachineLimits,
    pub(crate) size: ModelSize,
}

impl Bounds {
    /// Decoder operations for `tokens` that attend to `seen` positions each on average.
    pub(crate) fn operations(&self, tokens: f64, seen: f64) -> f64 {
        let ModelSize { decoder_weights, decoder_layers, attention_width, .. } = self.size;
        // Two products: queries by keys, and probabilities by values.
        let attention = 4.0 * (decoder_layers * attention_width) as f64 * seen;
        tokens * (2.0 * decoder_weights as f64 + attention)
    }

    /// The fewest seconds that this many operations take.
    pub(crate) fn seconds(&self, operations: f64) -> f64 {
        operations / (self.limits.arithmetic_gflops * 1e9)
    }

    /// The most prompt tokens per second in the prefill of a prompt of `prompt` tokens.
    pub(crate) fn prefill_per_s(&self, prompt: f64) -> f64 {
        prompt / self.seconds(self.operations(prompt, prompt / 2.0))
    }

    /// The most tokens per second that `batch` sequences decode after `context` positions each. Each step reads
    /// all weights and all cached keys and values once.
    pub(crate) fn decode_per_s(&self, widths: Widths, batch: f64, context: f64) -> f64 {
        let head_weights = self.size.head_weights as f64;
        let reading = self.decode_bytes(widths, batch * context) / (self.limits.reading_gb_per_s * 1e9);
        let operations = batch * (self.operations(1.0, context) + 2.0 * head_weights);
        batch / reading.max(self.seconds(operations))
    }

    /// The bytes that a decode step reads: all weights, and the cached keys and values of `positions` in total.
    pub(crate) fn decode_bytes(&self, widths: Widths, positions: f64) -> f64 {
        let ModelSize { decoder_weights, head_weights, cached_numbers, .. } = self.size;
        let weights = decoder_weights as f64 * widths.layer_bits + head_weights as f64 * widths.head_bits;
        weights / 8.0 + positions * cached_numbers as f64 * widths.cached_bytes
    }

    /// The fewest seconds that the image features of `tiles` take.
    pub(crate) fn image_s(&self, tiles: f64) -> f64 {
        let ModelSize { tower_weights, tower_layers, tower_width, patches, projector_weights, .. } =
            self.size;
        let attention = 4.0 * (tower_layers * tower_width * patches) as f64;
        let each = 2.0 * (tower_weights + projector_weights) as f64 + attention;
        self.seconds(tiles * patches as f64 * each)
    }
}

/// A model with every dimension 1, for tests.
#[cfg(test)]
pub(crate) const TINY: ModelSize = ModelSize {
    decoder_weights: 1,
    head_weights: 1,
    decoder_layers: 1,
    attention_width: 1,
    cached_numbers: 1,
    vocabulary: 1,
    tower_weights: 1,
    tower_layers: 1,
    tower_width: 1,
    tile_size: 1,
    patches: 1,
    projector_weights: 1,
};

#[cfg(test)]
mod tests {
    use critic::ModelSize;

    use super::{Bounds, MachineLimits, Widths};

    /// Everything in 32-bit floats.
    const WIDE: Widths = Widths { layer_bits: 32.0, head_bits: 32.0, cached_bytes: 4.0 };

    const BOUNDS: Bounds = Bounds {
        limits: MachineLimits { reading_gb_per_s: 10.0, arithmetic_gflops: 100.0 },
        size: ModelSize {
            decoder_weights: 1_000_000,
            head_weights: 0,
            decoder_layers: 1,
            attention_width: 1000,
            cached_numbers: 250,
            vocabulary: 10,
            tower_weights: 0,
            tower_layers: 1,
            tower_width: 100,
            tile_size: 0,
            patches: 10,
            projector_weights: 500,
        },
    };

    #[test]
    fn a_prompt_is_bound_by_arithmetic_and_one_sequence_by_memory() {
        // 2 million operations for the weights, and 4000 for each of 500 positions.
        assert_eq!(BOUNDS.operations(1.0, 500.0), 4e6);
        assert_eq!(BOUNDS.prefill_per_s(1000.0), 25_000.0);
        // 4 MB of weights and 1 MB of cached keys and values.
        assert_eq!(BOUNDS.decode_per_s(WIDE, 1.0, 1000.0), 2000.0);
        // 1000 sequences without context read the weights together, and are bound by arithmetic.
        assert_eq!(BOUNDS.decode_per_s(WIDE, 1000.0, 0.0), 50_000.0);
        assert_eq!(BOUNDS.image_s(1.0), 10.0 * 5000.0 / 1e11);
    }
}
