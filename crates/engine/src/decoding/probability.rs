//! Sums over a whole vocabulary of a hundred thousand logits or more, written as loops that compilers vectorise.
//! The results are bit-identical on every machine.

/// Number of values processed side by side.
const LANES: usize = 8;

/// Number of logits of which only the maximum is computed, before its position is searched.
const PIECE: usize = 1024;

/// The index of the first of the largest logits; 0 for an empty slice.
pub(crate) fn argmax(logits: &[f32]) -> usize {
    let mut best = (f32::NEG_INFINITY, 0);
    for (index, piece) in logits.chunks(PIECE).enumerate() {
        let largest = largest(piece);
        if largest > best.0 {
            best = (largest, index * PIECE);
        }
    }
    let (largest, first) = best;
    first + logits[first..].iter().position(|logit| *logit == largest).unwrap_or(0)
}

/// The largest logit. There must be no NaN.
fn largest(logits: &[f32]) -> f32 {
    let larger = |one: f32, other: f32| if other > one { other } else { one };
    let (whole, rest) = logits.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for floats in whole {
        for (lane, float) in lanes.iter_mut().zip(floats) {
            *lane = larger(*lane, *float);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

/// The natural logarithm of the sum of the exponentials of all logits.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = largest(logits);
    f64::from(largest) + mass(logits, largest, 1.0).ln()
}

/// The sum of `exp((logit - largest) / temperature)`; no logit may be larger than `largest`. Each exponential is
/// rounded to f32, and the sum is accumulated in f64.
pub(crate) fn mass(logits: &[f32], largest: f32, temperature: f32) -> f64 {
    let factor = 1.0 / temperature;
    let weight = |logit: f32| exp_of_none_above_zero((logit - largest) * factor);
    let (whole, rest) = logits.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for floats in whole {
        let weights = floats.map(weight);
        for (lane, weight) in lanes.iter_mut().zip(weights) {
            *lane += f64::from(weight);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|float| f64::from(weight(*float))).sum::<f64>()
}

/// The exponential of a number that is at most zero, within two units in the last place; 0 for results below 1e-37.
///
/// `exp(x) = 2^n * exp(r)`, where the integer `n` is nearest to `x / ln 2` and `|r| <= ln 2 / 2`, so that eight
/// terms of the series are enough.
///
/// The CPU kernels have an exponential too, of the fused multiply-adds of their instruction sets. This one is plain
/// arithmetic, since this crate has no instruction sets and knows no kernels: the logits may come from any backend. The
/// standard library's is not vectorised, and has other bits on other systems.
#[inline(always)]
fn exp_of_none_above_zero(x: f32) -> f32 {
    /// Added to a small number, it leaves the nearest integer in the lowest bits of the sum.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    /// `ln 2` in two parts; the first has so few bits that its product with `n` is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4]; // the first is 355 / 512
    const SMALLEST: f32 = -85.0;
    let within = if x > SMALLEST { x } else { SMALLEST };
    let sum = within * std::f32::consts::LOG2_E + ROUND;
    let n = sum - ROUND;
    let r = within - n * LN_2[0] - n * LN_2[1];
    let mut series = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * r + coefficient;
    }
    let power = f32::from_bits(sum.to_bits().wrapping_add(127) << 23);
    if x > SMALLEST { series * power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_standard_library() {
        assert_eq!(exp_of_none_above_zero(0.0), 1.0);
        for step in 0..84_000 {
            let x = -0.001 * step as f32;
            let (got, exact) = (f64::from(exp_of_none_above_zero(x)), f64::from(x).exp());
            assert!((got / exact - 1.0).abs() < 2.5e-7, "exp({x}) is {exact} and not {got}");
        }
        for x in [-85.0, -1e4, -3e38, f32::NEG_INFINITY] {
            assert_eq!(exp_of_none_above_zero(x), 0.0);
        }
    }

    #[test]
    fn the_first_of_the_largest_is_found_wherever_it_stands() {
        assert_eq!(argmax(&[]), 0);
        assert_eq!(argmax(&[f32::NEG_INFINITY; 40]), 0);
        for length in [1, 15, 16, 17, 1024, 3000] {
            for place in [0, 1, length / 2, length - 1].map(|place| place.min(length - 1)) {
                let mut logits: Vec<f32> = (0..length).map(|index| -((index % 7) as f32) - 1.0).collect();
                logits[place..].iter_mut().step_by(5).for_each(|logit| *logit = 0.5);
                assert_eq!(argmax(&logits), place);
            }
        }
    }

    #[test]
    fn a_vocabulary_of_many_is_summed_as_exactly_as_it_is_reported() {
        let logits: Vec<f32> =
            (0..152_000).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 8) as f32 / 4e5).collect();
        let largest = logits.iter().copied().fold(f32::MIN, f32::max);
        for temperature in [0.1, 1.0, 3.0] {
            let weight = |logit: &f32| (f64::from(logit - largest) / f64::from(temperature)).exp();
            let exact: f64 = logits.iter().map(weight).sum();
            assert!((mass(&logits, largest, temperature) / exact - 1.0).abs() < 2e-7);
        }
    }
}
