//! The exponential function, with the same bits in every instruction set.

use crate::isa::Simd;

/// Inputs below this give 0. For all others, the powers of two are normal numbers.
const LOWEST: f32 = -87.0;

/// Adding this number (1.5 * 2^23) rounds to an integer, which is then in the lowest bits.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// ln 2, as a number with few bits and the remainder.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// The coefficients of the polynomial in r by which r^2 is multiplied, from the highest power (Cephes).
const COEFFICIENTS: [f32; 6] =
    [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];

/// Returns e to the power of each lane. Lanes must be at most 0, as in a softmax: exponents above 88 overflow to
/// meaningless results. The relative error is at most 3e-7.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let shifted = simd.fma(x, simd.splat(std::f32::consts::LOG2_E), simd.splat(ROUND));
    let n = simd.sub(shifted, simd.splat(ROUND));
    let r = simd.fma(n, simd.splat(-LN_2[0]), x);
    let r = simd.fma(n, simd.splat(-LN_2[1]), r); // |r| <= ln 2 / 2
    let mut sum = simd.splat(COEFFICIENTS[0]);
    for coefficient in &COEFFICIENTS[1..] {
        sum = simd.fma(sum, r, simd.splat(*coefficient));
    }
    let sum = simd.add(simd.fma(sum, simd.mul(r, r), r), simd.splat(1.0));
    simd.zero_below(x, LOWEST, simd.mul(sum, simd.power_of_two(shifted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Kernel, LANES};

    struct Exp([f32; LANES]);

    impl Kernel for Exp {
        type Output = [f32; LANES];

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> [f32; LANES] {
            let mut floats = self.0;
            simd.store(exp(simd, simd.load(&self.0)), &mut floats);
            floats
        }
    }

    #[test]
    fn it_is_exp_in_every_set() {
        let mut worst = 0f64;
        for step in 0..20_000 {
            let x: [f32; LANES] =
                std::array::from_fn(|lane| -87.0 * (step * LANES + lane) as f32 / 320_000.0);
            let all: Vec<_> = Isa::available().into_iter().map(|isa| isa.run(Exp(x))).collect();
            for other in &all[1..] {
                assert_eq!(all[0].map(f32::to_bits), other.map(f32::to_bits));
            }
            for (x, y) in x.iter().zip(all[0]) {
                let wanted = f64::from(*x).exp();
                worst = worst.max((f64::from(y) / wanted - 1.0).abs());
            }
        }
        assert!(worst <= 3e-7, "{worst:e}");
    }

    #[test]
    fn far_below_is_zero_and_nothing_else_is_lost() {
        for isa in Isa::available() {
            let mut x = [0.0; LANES];
            x[..4].copy_from_slice(&[f32::NEG_INFINITY, -87.1, f32::NAN, -0.0]);
            let y = isa.run(Exp(x));
            assert_eq!(y[..2], [0.0, 0.0]);
            assert!(y[2].is_nan());
            assert_eq!(y[3..], [1.0; 13]);
        }
    }
}
