//! The forms in which weights are stored, and how many bits they take.

use serde::Serialize;

/// The form of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// 32-bit floats; on a GPU 16-bit floats, the only ones there.
    F32,
    /// Eight bits, and a scale for each 32 weights.
    Q8,
    /// Four bits, and a scale for each 32 weights; the output head in eight bits.
    Q4,
}

/// Bits of a weight's share in the 16-bit scale of its block of 32 weights, as in GGUF's `Q8_0` and `Q4_0`.
const SCALE_BITS: f64 = 16.0 / 32.0;

impl Form {
    /// All forms.
    pub const ALL: [Self; 3] = [Self::F32, Self::Q8, Self::Q4];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
        }
    }
}

/// Storage sizes of weights and of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Widths {
    /// Bits per weight of a decoder layer, including its share of a scale.
    pub layer_bits: f64,
    /// Bits per weight of the output head, which computes logits.
    pub head_bits: f64,
    /// Bytes per number of a cached key or value.
    pub cached_bytes: f64,
}

impl Widths {
    /// The sizes of weights in a form, where weights that are not quantised have `float_bits` bits, and numbers in the
    /// KV cache `cached_bytes` bytes.
    pub fn of(form: Form, float_bits: f64, cached_bytes: f64) -> Self {
        let (layer_bits, head_bits) = match form {
            Form::F32 => (float_bits, float_bits),
            Form::Q8 => (8.0 + SCALE_BITS, 8.0 + SCALE_BITS),
            Form::Q4 => (4.0 + SCALE_BITS, 8.0 + SCALE_BITS),
        };
        Self { layer_bits, head_bits, cached_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, Widths};

    #[test]
    fn a_quantised_weight_has_a_share_of_its_scale_and_a_float_has_none() {
        let bits = |form| {
            let widths = Widths::of(form, 16.0, 2.0);
            (widths.layer_bits, widths.head_bits)
        };
        assert_eq!(Form::ALL.map(bits), [(16.0, 16.0), (8.5, 8.5), (4.5, 8.5)]);
    }
}
