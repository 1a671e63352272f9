//! Quantises blocks of 32 weights to integers and a scale.
//!
//! A scale is an f16, which has 11 significant bits, and an integer here has 7 and a sign: their product has at most
//! 18 and is exact in f32.

use crate::{
    exp::ROUND,
    half::{f16_above, f16_nearest, f16_to_f32},
    isa::{Kernel, LANES, Simd},
    lanes::sum,
};

/// The number of weights along the input that share a scale.
pub const BLOCK: usize = 32;

/// The integers that four-bit codes stand for when weights are quantised here: the levels of GGUF's type IQ4_NL,
/// which lie closer together near 0, where weights are most frequent.
pub const LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The integers that the four-bit codes of GGUF's type Q4_0 stand for.
pub(crate) const EVEN_LEVELS: [i8; 16] = [-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7];

/// The scales that are tried for four bits: each maps the weight of largest magnitude to this value.
const TRIED: [f32; 7] = [-144.0, -135.0, -127.0, -119.0, -111.0, 113.0, 125.0];

/// The codes of a block and their scale, as bits of an f16. Weight `i` is `scale * codes[i]`, or for four bits
/// `scale * LEVELS[codes[i]]`.
pub(crate) struct Quantised {
    pub(crate) codes: [i8; BLOCK],
    pub(crate) scale: u16,
}

/// Returns the byte that encodes an eight-bit integer: the integer plus 128.
#[inline(always)]
pub(crate) fn code(number: i8) -> u8 {
    number as u8 ^ 128
}

/// Returns the integer that a byte encodes.
pub(crate) fn number(code: u8) -> i8 {
    (code ^ 128) as i8
}

/// The midpoints between neighbouring levels, from which on the higher one is chosen.
const BOUNDS: [f32; 15] = bounds();

const fn bounds() -> [f32; 15] {
    let mut bounds = [0.0; 15];
    let mut level = 0;
    while level < 15 {
        bounds[level] = (LEVELS[level] as f32 + LEVELS[level + 1] as f32) / 2.0;
        level += 1;
    }
    bounds
}

/// Returns the weight of largest magnitude, with its sign; if both signs have it, the positive one.
#[inline(always)]
fn furthest(weights: &[f32; BLOCK]) -> f32 {
    // Without the sign bit, the bits of floats sort like their magnitudes.
    let most = weights.iter().fold(0, |most, weight| (weight.to_bits() & 0x7fff_ffff).max(most));
    let positive = weights.iter().fold(false, |found, weight| found | (weight.to_bits() == most));
    if positive { f32::from_bits(most) } else { -f32::from_bits(most) }
}

/// Returns `1 / scale`, or 0 where the scale is so small that all codes become 0.
#[inline(always)]
fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Returns the nearest integer, limited to eight bits. Written by hand: x86-64 processors from before 2008 have no
/// instruction for it, and compilers generate code for them by default.
#[inline(always)]
pub(crate) fn whole(float: f32) -> i8 {
    (float.clamp(-128.0, 127.0) + ROUND).to_bits() as i8
}

/// Quantises to eight bits: integers from -127 to 127, times the scale. No weight is off by more than half a scale.
#[inline(always)]
pub(crate) fn to_q8(weights: &[f32; BLOCK]) -> Quantised {
    // Rounded up, so that the largest weight is not clipped.
    let scale = f16_above(furthest(weights).abs() / 127.0);
    let inverse = inverse(f16_to_f32(scale));
    let mut codes = [0; BLOCK];
    for (code, weight) in codes.iter_mut().zip(weights) {
        *code = whole(weight * inverse);
    }
    Quantised { codes, scale }
}

/// Quantises to four bits. For given codes the best scale is that of least squares, P / Q, where P is the sum of the
/// products of weights and levels and Q the sum of the squared levels; it reduces the sum of squared errors by P^2 /
/// Q. The codes with the largest P^2 / Q among the tried scales determine the scale, with which the weights are then
/// coded anew. Its sign determines at which end of the levels the largest weight lies.
#[inline(always)]
pub(crate) fn to_q4<S: Simd>(simd: S, weights: &[f32; BLOCK]) -> Quantised {
    let vectors: [S::Vector; 2] = [load(simd, weights, 0), load(simd, weights, 1)];
    let furthest = furthest(weights);
    // All sums are computed before the choice: a branch between them would often be mispredicted.
    let mut tried = [[0.0; 2]; TRIED.len()];
    for (place, sums) in TRIED.into_iter().zip(&mut tried) {
        let factor = simd.splat(inverse(furthest / place));
        let (mut products, mut squares) = (simd.splat(0.0), simd.splat(0.0));
        for weights in vectors {
            let mut level = simd.splat(f32::from(LEVELS[0]));
            let number = simd.mul(weights, factor);
            for (bound, next) in BOUNDS.into_iter().zip(&LEVELS[1..]) {
                level = simd.below(number, bound, [level, simd.splat(f32::from(*next))]);
            }
            products = simd.add(products, simd.mul(weights, level));
            squares = simd.add(squares, simd.mul(level, level));
        }
        *sums = [sum(simd, products), sum(simd, squares)];
    }
    let (mut best, mut most) = (0.0, 0.0);
    for [products, squares] in tried {
        let less = products * products / squares;
        if less > most {
            (best, most) = (products / squares, less);
        }
    }
    let scale = f16_nearest(best);
    let factor = simd.splat(inverse(f16_to_f32(scale)));
    let mut codes = [0; BLOCK];
    for (weights, codes) in vectors.into_iter().zip(codes.as_chunks_mut::<LANES>().0) {
        let (mut code, number) = (simd.splat(0.0), simd.mul(weights, factor));
        for (bound, next) in BOUNDS.into_iter().zip(1..) {
            code = simd.below(number, bound, [code, simd.splat(next as f32)]);
        }
        let mut floats = [0.0; LANES];
        simd.store(code, &mut floats);
        for (code, float) in codes.iter_mut().zip(floats) {
            *code = whole(float);
        }
    }
    Quantised { codes, scale }
}

/// [`to_q4`] as a [`Kernel`].
pub(crate) struct ToQ4<'a>(pub(crate) &'a [f32; BLOCK]);

impl Kernel for ToQ4<'_> {
    type Output = Quantised;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Quantised {
        to_q4(simd, self.0)
    }
}

#[inline(always)]
fn load<S: Simd>(simd: S, weights: &[f32; BLOCK], vector: usize) -> S::Vector {
    simd.load(&weights.as_chunks().0[vector])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    /// Weights distributed as in models: sums of many small numbers.
    fn weights(seed: u32) -> [f32; BLOCK] {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        std::array::from_fn(|_| (0..12).map(|_| next()).sum::<f32>() * 0.02)
    }

    /// Returns the RMS error divided by the RMS of the weights, in f64, over many blocks.
    fn relative_error(restored: impl Fn(&[f32; BLOCK]) -> [f64; BLOCK]) -> f64 {
        let (mut errors, mut squares) = (0.0, 0.0);
        for seed in 1..2000 {
            let weights = weights(seed);
            for (weight, restored) in weights.iter().zip(restored(&weights)) {
                errors += (f64::from(*weight) - restored).powi(2);
                squares += f64::from(*weight).powi(2);
            }
        }
        (errors / squares).sqrt()
    }

    fn q8(weights: &[f32; BLOCK]) -> [f64; BLOCK] {
        to_q8(weights).whole().map(f64::from)
    }

    fn q4(weights: &[f32; BLOCK]) -> [f64; BLOCK] {
        Isa::best().run(ToQ4(weights)).at_levels(&LEVELS).map(f64::from)
    }

    /// The rejected alternative: four bits in even steps from the smallest to the largest weight, both of which are
    /// stored.
    fn scale_and_minimum(weights: &[f32; BLOCK]) -> [f64; BLOCK] {
        let least = weights.iter().copied().fold(f32::INFINITY, f32::min);
        let most = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let step = f64::from(most - least) / 15.0;
        weights.map(|weight| f64::from(least) + (f64::from(weight - least) / step).round() * step)
    }

    #[test]
    fn eight_bits_are_off_by_half_a_scale_at_most() {
        for seed in 1..500 {
            let weights = weights(seed);
            let scale = f64::from(f16_to_f32(to_q8(&weights).scale));
            for (weight, restored) in weights.iter().zip(q8(&weights)) {
                assert!((f64::from(*weight) - restored).abs() <= scale * 0.500_001);
            }
        }
        let error = relative_error(q8);
        assert!(error < 0.006, "{error}");
    }

    #[test]
    fn four_bits_at_these_levels_are_better_than_even_ones_with_a_minimum() {
        let (error, other) = (relative_error(q4), relative_error(scale_and_minimum));
        assert!(error < 0.075 && error < other, "{error} and {other}");
    }

    #[test]
    fn nothing_and_next_to_nothing_can_be_quantised() {
        for weight in [0.0, f32::MIN_POSITIVE, 1e-45, -1e-40, f32::MAX, -f32::MAX] {
            let mut weights = [0.0; BLOCK];
            weights[3] = weight;
            for restored in [q8(&weights), q4(&weights)] {
                let error = (restored[3] - f64::from(weight)).abs();
                assert!(error <= f64::from(weight).abs() && restored.iter().all(|weight| weight.is_finite()));
            }
        }
    }

    #[test]
    fn codes_name_the_nearest_level_in_every_set() {
        for seed in 1..200 {
            let weights = weights(seed);
            let best = Isa::best().run(ToQ4(&weights));
            for (weight, code) in weights.iter().zip(best.codes) {
                let number = weight / f16_to_f32(best.scale);
                let off = |level: i8| (number - f32::from(level)).abs();
                let least = LEVELS.into_iter().map(off).fold(f32::INFINITY, f32::min);
                assert!(off(LEVELS[code as usize]) <= least + 1e-4);
            }
            for isa in Isa::available() {
                let found = isa.run(ToQ4(&weights));
                assert_eq!((found.codes, found.scale), (best.codes, best.scale), "{}", isa.name());
            }
        }
    }
}
