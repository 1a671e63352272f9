//! A weight matrix in the types in which files store it.

use crate::{
    gguf::{self, eight_bits, four_bits},
    isa::Simd,
    quantise::{BLOCK, EVEN_LEVELS, LEVELS},
};

/// A weight `[output, input]` in the type in which it is given.
#[derive(Debug, Clone, Copy)]
pub enum Matrix<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// Bits of 16-bit floats with 8 exponent bits.
    Bf16(&'a [u16]),
    /// Bits of 16-bit floats with 5 exponent bits.
    F16(&'a [u16]),
    /// Blocks of GGUF's type Q8_0, output by output. A block has 34 bytes for 32 inputs: a scale as a little-endian
    /// f16, and a signed eight-bit integer for each input. A weight is its integer times the scale.
    Q8_0(&'a [u8]),
    /// Blocks of GGUF's type Q4_0, output by output. A block has 18 bytes for 32 inputs: a scale as a little-endian
    /// f16, and 16 bytes whose lower four bits are inputs 0 to 15 and whose upper four bits are inputs 16 to 31. A
    /// weight is its four bits, less 8, times the scale.
    Q4_0(&'a [u8]),
    /// Blocks of GGUF's type IQ4_NL: like those of Q4_0, but the four bits index one of 16 levels, and a weight is
    /// its level times the scale.
    Iq4Nl(&'a [u8]),
}

impl Matrix<'_> {
    /// Returns the number of weights.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(floats) => floats.len(),
            Self::Bf16(bits) | Self::F16(bits) => bits.len(),
            Self::Q8_0(bytes) => whole_blocks(bytes, gguf::EIGHT_BITS) * BLOCK,
            Self::Q4_0(bytes) | Self::Iq4Nl(bytes) => whole_blocks(bytes, gguf::FOUR_BITS) * BLOCK,
        }
    }

    /// Returns the number of which `input` must be a multiple: 32 for types in blocks, else 1.
    pub(crate) fn block_size(&self) -> usize {
        match self {
            Self::F32(_) | Self::Bf16(_) | Self::F16(_) => 1,
            Self::Q8_0(_) | Self::Q4_0(_) | Self::Iq4Nl(_) => BLOCK,
        }
    }

    /// Returns `length` weights from `start` on, at most 32, padded with zeros; for types in blocks, the block that
    /// begins there.
    #[inline(always)]
    pub(crate) fn block<S: Simd>(&self, simd: S, start: usize, length: usize) -> [f32; BLOCK] {
        match self {
            Self::F32(floats) => filled(&floats[start..start + length]),
            Self::Bf16(bits) => {
                let bits = filled(&bits[start..start + length]);
                let mut weights = [0.0; BLOCK];
                for (place, bits) in weights.as_chunks_mut().0.iter_mut().zip(bits.as_chunks().0) {
                    simd.store(simd.widen_bf16(bits), place);
                }
                weights
            }
            Self::F16(bits) => {
                let bits = filled(&bits[start..start + length]);
                let mut weights = [0.0; BLOCK];
                for (place, bits) in weights.as_chunks_mut().0.iter_mut().zip(bits.as_chunks().0) {
                    simd.store(simd.widen_f16(bits), place);
                }
                weights
            }
            Self::Q8_0(bytes) => eight_bits(&bytes.as_chunks().0[start / BLOCK]).whole(),
            Self::Q4_0(bytes) => four_bits(&bytes.as_chunks().0[start / BLOCK]).at_levels(&EVEN_LEVELS),
            Self::Iq4Nl(bytes) => four_bits(&bytes.as_chunks().0[start / BLOCK]).at_levels(&LEVELS),
        }
    }
}

/// Returns a block of the first 32 of `numbers`, padded with zeros if there are fewer.
#[inline(always)]
fn filled<T: Copy + Default>(numbers: &[T]) -> [T; BLOCK] {
    numbers.first_chunk().copied().unwrap_or_else(|| {
        let mut block = [T::default(); BLOCK];
        block[..numbers.len()].copy_from_slice(numbers);
        block
    })
}

/// Returns the number of blocks in `bytes`.
fn whole_blocks(bytes: &[u8], size: usize) -> usize {
    assert!(bytes.len().is_multiple_of(size), "{} bytes are no blocks of {size}", bytes.len());
    bytes.len() / size
}
