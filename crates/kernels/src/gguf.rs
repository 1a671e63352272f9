//! Blocks of 32 quantised weights as GGUF files store them.

use crate::{
    half::f16_to_f32,
    quantise::{BLOCK, Quantised},
};

/// Bytes of a block of Q8_0: a scale, and an integer for each weight.
pub const EIGHT_BITS: usize = 34;

/// Bytes of a block of Q4_0 or IQ4_NL: a scale, and the codes of two weights in each byte.
pub const FOUR_BITS: usize = 18;

/// Splits a block into its scale, with which every block begins, and the rest.
fn scale(block: &[u8]) -> (u16, &[u8]) {
    let (scale, codes) = block.split_first_chunk().expect("a block begins with two bytes of scale");
    (u16::from_le_bytes(*scale), codes)
}

/// Reads a block of Q8_0: the f16 scale, then inputs 0 to 31.
pub(crate) fn eight_bits(block: &[u8; EIGHT_BITS]) -> Quantised {
    let (scale, codes) = scale(block);
    Quantised { codes: std::array::from_fn(|index| codes[index] as i8), scale }
}

/// Reads a block of Q4_0 or IQ4_NL: the f16 scale, then 16 bytes whose lower four bits are inputs 0 to 15 and whose
/// upper four bits are inputs 16 to 31.
pub(crate) fn four_bits(block: &[u8; FOUR_BITS]) -> Quantised {
    let (scale, bytes) = scale(block);
    let code = |index| bytes[index % 16] >> (index / 16 * 4) & 15;
    Quantised { codes: std::array::from_fn(|index| code(index) as i8), scale }
}

impl Quantised {
    /// Returns the weights of a block whose codes are integers.
    pub(crate) fn whole(&self) -> [f32; BLOCK] {
        self.codes.map(|code| f16_to_f32(self.scale) * f32::from(code))
    }

    /// Returns the weights of a block whose codes are indices of `levels`.
    pub(crate) fn at_levels(&self, levels: &[i8; 16]) -> [f32; BLOCK] {
        self.codes.map(|code| f16_to_f32(self.scale) * f32::from(levels[code as usize]))
    }
}
