//! Blocks of 32 weights as whole numbers and a scale.
//!
//! A scale is an f16, which has 11 digits, and a whole number here has 7 and a sign: their product has at most 18 and is
//! an f32 without rounding.

use crate::half::{f16_above, f16_nearest, f16_to_f32};

/// Weights along the input that share a scale.
pub(crate) const BLOCK: usize = 32;

/// What four bits stand for when weights are quantised here: closer together where weights are many. These are the levels
/// of GGUF's type IQ4_NL.
pub(crate) const LEVELS: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// What the four bits of GGUF's type Q4_0 stand for.
pub(crate) const EVEN_LEVELS: [i8; 16] = [-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7];

/// Scales that are tried for four bits: each puts the largest weight at this place among the levels.
const TRIED: [f32; 7] = [-144.0, -135.0, -127.0, -119.0, -111.0, 113.0, 125.0];

/// Codes and their scale, as bits of an f16. Weight `i` is `scale * code[i]`, or for four bits `scale * LEVELS[code[i]]`.
pub(crate) struct Quantised {
    pub(crate) codes: [i8; BLOCK],
    pub(crate) scale: u16,
}

/// The byte that stands for a whole number where both have eight bits: 128 more.
#[inline(always)]
pub(crate) fn code(number: i8) -> u8 {
    number as u8 ^ 128
}

/// The whole number that a byte stands for.
pub(crate) fn number(code: u8) -> i8 {
    (code ^ 128) as i8
}

/// The index of the level that is nearest to each whole number from -128 on.
const NEAREST: [u8; 256] = nearest_levels();

const fn nearest_levels() -> [u8; 256] {
    let mut nearest = [0; 256];
    let (mut number, mut level) = (0, 0);
    while number < 256 {
        let value = number as i32 - 128;
        while level < 15 && 2 * value > LEVELS[level] as i32 + LEVELS[level + 1] as i32 {
            level += 1;
        }
        nearest[number] = level as u8;
        number += 1;
    }
    nearest
}

/// The weight that is furthest from 0, with its sign.
fn furthest(weights: &[f32; BLOCK]) -> f32 {
    weights.iter().fold(0.0, |most: f32, weight| if weight.abs() > most.abs() { *weight } else { most })
}

/// 1 by `scale`, or 0 where the scale is so small that all codes are 0.
fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The nearest whole number, as far as it is one of eight bits. By hand: processors from before 2008 have no instruction
/// for it, and code for them is what a compiler writes unless told otherwise.
#[inline(always)]
pub(crate) fn whole(float: f32) -> i8 {
    /// Adding this rounds to a whole number, which then stands in the lowest bits (1.5 * 2^23).
    const ROUND: f32 = 12_582_912.0;
    (float.clamp(-128.0, 127.0) + ROUND).to_bits() as i8
}

/// Eight bits: from -127 to 127 times the scale. No weight is off by more than half a scale.
pub(crate) fn to_q8(weights: &[f32; BLOCK]) -> Quantised {
    // Rounded up, so that the largest weight is not cut off.
    let scale = f16_above(furthest(weights).abs() / 127.0);
    let inverse = inverse(f16_to_f32(scale));
    Quantised { codes: weights.map(|weight| whole(weight * inverse)), scale }
}

/// Four bits: the scale with the least sum of squares of errors of those that are tried, each made as good as it can be
/// for the codes that it led to. The sign of the scale says at which end of the levels the largest weight is.
pub(crate) fn to_q4(weights: &[f32; BLOCK]) -> Quantised {
    let furthest = furthest(weights);
    let mut best = Quantised { codes: [NEAREST[128] as i8; BLOCK], scale: 0 };
    let mut least = f32::INFINITY;
    for place in TRIED {
        let codes = q4_codes(weights, furthest / place);
        // Least squares: the sum of products of weights and levels by that of squares of levels.
        let (mut products, mut squares) = (0.0, 0.0);
        for (weight, code) in weights.iter().zip(codes) {
            let level = f32::from(LEVELS[code as usize]);
            products += weight * level;
            squares += level * level;
        }
        let scale = f16_nearest(products / squares);
        let codes = q4_codes(weights, f16_to_f32(scale));
        let error: f32 = weights
            .iter()
            .zip(codes)
            .map(|(weight, code)| (weight - f16_to_f32(scale) * f32::from(LEVELS[code as usize])).powi(2))
            .sum();
        if error < least {
            least = error;
            best = Quantised { codes, scale };
        }
    }
    best
}

fn q4_codes(weights: &[f32; BLOCK], scale: f32) -> [i8; BLOCK] {
    let inverse = inverse(scale);
    weights.map(|weight| NEAREST[(i32::from(whole(weight * inverse)) + 128) as usize] as i8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights as they are in models: sums of many small numbers.
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

    /// The root of the mean square of errors by that of weights, in f64, over many blocks.
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
        let Quantised { codes, scale } = to_q8(weights);
        codes.map(|code| f64::from(f16_to_f32(scale)) * f64::from(code))
    }

    fn q4(weights: &[f32; BLOCK]) -> [f64; BLOCK] {
        let Quantised { codes, scale } = to_q4(weights);
        codes.map(|code| f64::from(f16_to_f32(scale)) * f64::from(LEVELS[code as usize]))
    }

    /// Four bits between the least and the largest weight, with both of them kept: what was not taken.
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
    fn the_nearest_level_is_the_nearest() {
        for number in -128..=127i32 {
            let found = LEVELS[NEAREST[(number + 128) as usize] as usize];
            let least = LEVELS.iter().map(|level| (number - i32::from(*level)).abs()).min();
            assert_eq!(Some((number - i32::from(found)).abs()), least);
        }
    }
}
