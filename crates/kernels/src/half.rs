//! Conversions of the two 16-bit floats, given as bits. All of their numbers are exact in f32; infinities and NaN are
//! kept.

/// Converts a bf16, which is the upper half of an f32.
#[inline(always)]
pub(crate) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The largest finite f16.
const MOST_F16: f32 = 65_504.0;

/// Returns the nearest f16, ties to even; a number that is too large becomes the largest finite one. `float` must be
/// finite.
#[inline(always)]
pub(crate) fn f16_nearest(float: f32) -> u16 {
    let (sign, magnitude) = (float.to_bits() >> 16 & 0x8000, float.abs().min(MOST_F16));
    let rest = if magnitude < f32::MIN_POSITIVE * 2f32.powi(112) {
        // Subnormal: the last bit of a sum with 0.5 is worth 2^-24, like that of the f16.
        (magnitude + 0.5).to_bits() - 0.5f32.to_bits()
    } else {
        let bits = magnitude.to_bits() - (112 << 23);
        (bits + 0xfff + (bits >> 13 & 1)) >> 13
    };
    (sign | rest) as u16
}

/// Returns the smallest f16 that is not below `float`, which must not be negative; a number that is too large becomes
/// the largest finite one.
#[inline(always)]
pub(crate) fn f16_above(float: f32) -> u16 {
    let float = float.min(MOST_F16);
    let nearest = f16_nearest(float);
    nearest + u16::from(f16_to_f32(nearest) < float)
}

/// Converts an f16.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let rest = u32::from(bits & 0x7fff);
    let magnitude = match rest >> 10 {
        // Subnormal: a multiple of 2^-24.
        0 => (rest as f32 / (1 << 24) as f32).to_bits(),
        31 => rest << 13 | 0x7f80_0000,
        // The exponent bias of an f32 is greater by 112.
        _ => (rest << 13) + (112 << 23),
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Kernel, LANES, Simd};

    struct Widen([u16; LANES]);

    impl Kernel for Widen {
        type Output = [[f32; LANES]; 2];

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let mut floats = [[0.0; LANES]; 2];
            simd.store(simd.widen_bf16(&self.0), &mut floats[0]);
            simd.store(simd.widen_f16(&self.0), &mut floats[1]);
            floats
        }
    }

    #[test]
    fn every_number_is_the_same_in_every_set() {
        for first in (0..=u16::MAX - 15).step_by(LANES) {
            let bits: [u16; LANES] = std::array::from_fn(|lane| first + lane as u16);
            for isa in Isa::available() {
                let [bf16, f16] = isa.run(Widen(bits));
                for (lane, bits) in bits.into_iter().enumerate() {
                    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                    assert!(same(bf16[lane], bf16_to_f32(bits)), "{bits:x} {}", isa.name());
                    assert!(same(f16[lane], f16_to_f32(bits)), "{bits:x} {}", isa.name());
                }
            }
        }
    }

    #[test]
    fn an_f16_is_what_its_parts_say() {
        for bits in 0..0x7c00u16 {
            let (exponent, digits) = (i32::from(bits >> 10), f64::from(bits & 1023));
            let wanted = match exponent {
                0 => digits * 2f64.powi(-24),
                _ => (1024.0 + digits) * 2f64.powi(exponent - 25),
            };
            assert_eq!(f64::from(f16_to_f32(bits)), wanted);
            assert_eq!(f64::from(f16_to_f32(bits | 0x8000)), -wanted);
        }
        assert_eq!([f16_to_f32(0x7c00), f16_to_f32(0xfc00)], [f32::INFINITY, f32::NEG_INFINITY]);
        assert!(f16_to_f32(0x7c01).is_nan());
    }

    #[test]
    fn rounding_to_f16_goes_to_the_nearest_or_up() {
        for bits in 0..0x7bffu16 {
            let (this, next) = (f16_to_f32(bits), f16_to_f32(bits + 1));
            let even = bits + (bits & 1);
            let halfway = (this + next) / 2.0;
            for (float, nearest, above) in [
                (this, bits, bits),
                (halfway.next_down(), bits, bits + 1),
                (halfway, even, bits + 1),
                (halfway.next_up(), bits + 1, bits + 1),
            ] {
                assert_eq!([f16_nearest(float), f16_above(float)], [nearest, above], "{float:e}");
                assert_eq!(f16_nearest(-float), nearest | 0x8000, "{float:e}");
            }
        }
        for large in [65_505.0, 1e6, f32::MAX] {
            assert_eq!([f16_nearest(large), f16_above(large), f16_nearest(-large)], [0x7bff, 0x7bff, 0xfbff]);
        }
        assert_eq!([f16_nearest(1e-45), f16_above(1e-45)], [0, 1]);
    }
}
