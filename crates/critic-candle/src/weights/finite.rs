//! Checks that weights are finite, on the bytes of a file.
//!
//! Loops have no early exit within a part, so that the compiler can vectorise them.

use kernels::{Q4_BYTES, Q8_0_BYTES};

use super::{parallel_map::all_parts, stored::StoredType};

/// Whether all numbers in `bytes` of this type are finite; of quantised blocks, whether all scales are. Always true
/// for the types that are dequantised on reading, which are checked afterwards.
pub(super) fn are_finite(stored_type: StoredType, bytes: &[u8]) -> bool {
    match stored_type {
        StoredType::F32 => all_parts(bytes.as_chunks::<4>().0, |floats| {
            exponents_are_finite(floats.iter().map(|float| u32::from_le_bytes(*float)))
        }),
        StoredType::Bf16 => all_parts(bytes.as_chunks::<2>().0, |words| {
            words_are_finite(words.iter().map(|word| u16::from_le_bytes(*word)), BF16_EXPONENT)
        }),
        StoredType::F16 => all_parts(bytes.as_chunks::<2>().0, |words| {
            words_are_finite(words.iter().map(|word| u16::from_le_bytes(*word)), F16_EXPONENT)
        }),
        StoredType::Q8_0 => scales_are_finite::<Q8_0_BYTES>(bytes),
        StoredType::Q4_0 | StoredType::Iq4Nl => scales_are_finite::<Q4_BYTES>(bytes),
        StoredType::Other(_) => true,
    }
}

/// Whether all floats are finite.
pub(super) fn floats_are_finite(floats: &[f32]) -> bool {
    all_parts(floats, |floats| exponents_are_finite(floats.iter().map(|float| float.to_bits())))
}

/// The exponent's bits, which are all set only in infinities and NaN.
const F32_EXPONENT: u32 = 0x7f80_0000;
const BF16_EXPONENT: u16 = 0x7f80;
const F16_EXPONENT: u16 = 0x7c00;

/// Whether all floats, given by their bits, are finite: adding an exponent's lowest bit to it carries into the sign
/// bit exactly if all its bits are set.
fn exponents_are_finite(floats: impl Iterator<Item = u32>) -> bool {
    let lowest = 1_u32 << F32_EXPONENT.trailing_zeros();
    let carried = floats.fold(0_u32, |carried, bits| carried | (bits & F32_EXPONENT).wrapping_add(lowest));
    carried >> 31 == 0
}

/// Whether all 16-bit floats with these exponent bits are finite, by the same test.
fn words_are_finite(words: impl Iterator<Item = u16>, exponent: u16) -> bool {
    let lowest = 1_u16 << exponent.trailing_zeros();
    let carried = words.fold(0_u16, |carried, bits| carried | (bits & exponent).wrapping_add(lowest));
    carried >> 15 == 0
}

/// Whether the scales of all blocks are finite: an f16 at the start of each block.
fn scales_are_finite<const BYTES: usize>(bytes: &[u8]) -> bool {
    all_parts(bytes.as_chunks::<BYTES>().0, |blocks| {
        words_are_finite(blocks.iter().map(|block| u16::from_le_bytes([block[0], block[1]])), F16_EXPONENT)
    })
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::weights::parallel_map::NUMBERS_AT_ONCE;

    #[test]
    fn every_float_of_16_bits_is_finite_or_found_out() {
        for bits in 0..=u16::MAX {
            let finite = |stored_type| are_finite(stored_type, &bits.to_le_bytes());
            assert_eq!(finite(StoredType::Bf16), bf16::from_bits(bits).is_finite(), "bf16 {bits:x}");
            assert_eq!(finite(StoredType::F16), f16::from_bits(bits).is_finite(), "f16 {bits:x}");
            let float = f32::from_bits(u32::from(bits) << 16 | 0x1234);
            assert_eq!(are_finite(StoredType::F32, &float.to_le_bytes()), float.is_finite(), "f32 {float:e}");
            assert_eq!(floats_are_finite(&[1.0, float]), float.is_finite(), "{float:e}");
        }
    }

    /// Checks places at the ends of the parts that different threads check, and within them.
    #[test]
    fn a_value_that_is_not_finite_is_found_wherever_it_is() {
        let count = 2 * NUMBERS_AT_ONCE + 9;
        let places = [0, 1, 7, 8, NUMBERS_AT_ONCE - 1, NUMBERS_AT_ONCE, 2 * NUMBERS_AT_ONCE, count - 1];
        for (stored_type, value) in [
            (StoredType::F32, f32::NEG_INFINITY.to_le_bytes().to_vec()),
            (StoredType::Bf16, bf16::NAN.to_le_bytes().to_vec()),
            (StoredType::F16, f16::INFINITY.to_le_bytes().to_vec()),
            (StoredType::Q8_0, f16::NAN.to_le_bytes().to_vec()),
            (StoredType::Q4_0, f16::INFINITY.to_le_bytes().to_vec()),
            (StoredType::Iq4Nl, f16::NEG_INFINITY.to_le_bytes().to_vec()),
        ] {
            let (_, width) = stored_type.block();
            // In blocks, all bits of the codes are set, which does not make them infinite.
            let other =
                if width > 4 { [&[0; 2], &vec![0xff; width - 2][..]].concat() } else { vec![0; width] };
            let mut bytes = other.repeat(count);
            assert!(are_finite(stored_type, &bytes), "{stored_type}");
            for place in places {
                let range = place * width..place * width + value.len();
                let before = bytes[range.clone()].to_vec();
                bytes[range.clone()].copy_from_slice(&value);
                assert!(!are_finite(stored_type, &bytes), "{stored_type} at {place}");
                bytes[range].copy_from_slice(&before);
            }
        }
    }
}
