//! The two 16-bit floats, by their bits. Every one of them is an f32 too; numbers that are not finite stay so.

/// Bits of a bf16 to the number: the upper half of an f32.
#[inline(always)]
pub(crate) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest bf16, of two equally near ones the even one. `float` is finite.
pub(crate) fn bf16_nearest(float: f32) -> u16 {
    let bits = float.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// The least bf16 that is not below `float`, which is finite and not negative.
pub(crate) fn bf16_above(float: f32) -> u16 {
    ((float.to_bits() + 0xffff) >> 16) as u16
}

/// Bits of an f16 to the number.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let rest = u32::from(bits & 0x7fff);
    let magnitude = match rest >> 10 {
        // Below the normal numbers: so many times 2^-24.
        0 => (rest as f32 / (1 << 24) as f32).to_bits(),
        31 => rest << 13 | 0x7f80_0000,
        // Exponents count from -112 further down in an f32.
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
    fn rounding_to_bf16_goes_to_the_nearest_or_up() {
        for (float, nearest, above) in
            [(1.0, 1.0, 1.0), (1.002, 1.0, 1.007_812_5), (1.006, 1.007_812_5, 1.007_812_5), (0.0, 0.0, 0.0)]
        {
            assert_eq!([bf16_to_f32(bf16_nearest(float)), bf16_to_f32(bf16_above(float))], [nearest, above]);
        }
        // Half way between two: the even one.
        assert_eq!(bf16_to_f32(bf16_nearest(1.0 + 1.0 / 256.0)), 1.0);
    }
}
