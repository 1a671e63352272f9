//! Strengths of the Bradley-Terry model, fitted to comparisons.

use super::ranking::rounded;

/// A comparison of two responses, by their indices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contest {
    pub(super) one: usize,
    pub(super) other: usize,
    /// The fraction won by `one`, from 0 to 1; the rest was won by `other`.
    pub(super) won: f64,
}

/// Number of wins, and of losses, of each response against an opponent of strength 0, so that one that never loses
/// has a finite strength.
const PRIOR: f64 = 0.5;

/// The fit has converged when no strength changes by more than this.
const CLOSE: f64 = 1e-10;

/// Maximum number of steps. The worst case, a strict order, takes 21 for 64 responses and 26 for 128.
const MOST_STEPS: usize = 200;

/// The strengths of `count` responses, with mean 0: the logarithms of w_i, where i beats j with probability w_i /
/// (w_i + w_j). `None` for a response without a contest.
pub(super) fn strengths(count: usize, contests: &[Contest]) -> Vec<Option<f64>> {
    let found = fit(count, contests);
    let mut compared = vec![false; count];
    for Contest { one, other, .. } in contests {
        compared[*one] = true;
        compared[*other] = true;
    }
    let known: Vec<Option<f64>> =
        found.into_iter().zip(compared).map(|(strength, compared)| compared.then_some(strength)).collect();
    let number = known.iter().flatten().count() as f64;
    let mean = known.iter().flatten().sum::<f64>() / number;
    // Newton's method ends far closer than its last step, so that only rounding errors are cut, by which responses
    // with equal results would differ.
    known.into_iter().map(|strength| strength.map(|strength| rounded(strength - mean, 12))).collect()
}

/// The maximum-likelihood strengths, where the opponent of [`PRIOR`] has strength 0. The log-likelihood is strictly
/// concave, so that the maximum is unique.
fn fit(count: usize, contests: &[Contest]) -> Vec<f64> {
    let mut strengths = vec![0.0; count];
    for _ in 0..MOST_STEPS {
        let step = newton_step(&strengths, contests);
        for (strength, change) in strengths.iter_mut().zip(&step) {
            *strength += change;
        }
        if step.iter().all(|change| change.abs() < CLOSE) {
            break;
        }
    }
    strengths
}

/// A step of Newton's method, damped so that it does not overshoot the maximum in its direction: while differences
/// of strengths change by at most M, the second derivative grows by a factor of at most exp(M) (Bach 2010, arXiv
/// 0910.4627), for which a fraction ln(1 + M) / M of the step is short enough.
fn newton_step(strengths: &[f64], contests: &[Contest]) -> Vec<f64> {
    let count = strengths.len();
    let mut gradient = Vec::with_capacity(count);
    let mut curvature = vec![vec![0.0; count]; count];
    for (index, strength) in strengths.iter().enumerate() {
        let wins = logistic(*strength);
        gradient.push(PRIOR - 2.0 * PRIOR * wins);
        curvature[index][index] = 2.0 * PRIOR * wins * (1.0 - wins);
    }
    for Contest { one, other, won } in contests.iter().copied() {
        let wins = logistic(strengths[one] - strengths[other]);
        gradient[one] += won - wins;
        gradient[other] -= won - wins;
        let spread = wins * (1.0 - wins);
        curvature[one][one] += spread;
        curvature[other][other] += spread;
        curvature[one][other] -= spread;
        curvature[other][one] -= spread;
    }
    let step = solve(curvature, gradient);
    // The prior's opponent, which is fixed, counts as a change of 0.
    let lowest = step.iter().copied().fold(0.0, f64::min);
    let highest = step.iter().copied().fold(0.0, f64::max);
    let apart: f64 = highest - lowest;
    let part = if apart > 0.0 { apart.ln_1p() / apart } else { 1.0 };
    step.into_iter().map(|change| part * change).collect()
}

fn logistic(difference: f64) -> f64 {
    1.0 / (1.0 + (-difference).exp())
}

/// Solves `matrix` x = `right` by Cholesky decomposition. The matrix must be symmetric and positive definite; only
/// its lower triangle is read.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for row in 0..size {
        for column in 0..=row {
            let known: f64 = (0..column).map(|k| matrix[row][k] * matrix[column][k]).sum();
            let rest = matrix[row][column] - known;
            matrix[row][column] = if row == column { rest.sqrt() } else { rest / matrix[column][column] };
        }
    }
    for row in 0..size {
        let known: f64 = (0..row).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|k| matrix[k][row] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Contests in which every earlier response beats every later one.
    fn strict_order(count: usize) -> Vec<Contest> {
        let pairs = (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other)));
        pairs.map(|(one, other)| Contest { one, other, won: 1.0 }).collect()
    }

    /// The largest difference between the wins of a response and those expected by the strengths: the gradient,
    /// computed with w instead of its logarithm.
    fn greatest_gradient(strengths: &[f64], contests: &[Contest]) -> f64 {
        let weights: Vec<f64> = strengths.iter().map(|strength| strength.exp()).collect();
        let gradient = |i: usize| {
            let rivals = contests.iter().filter_map(|Contest { one, other, won }| {
                let as_other = (*other == i).then_some((*one, 1.0 - won));
                if *one == i { Some((*other, *won)) } else { as_other }
            });
            let prior = PRIOR - 2.0 * PRIOR * weights[i] / (weights[i] + 1.0);
            rivals
                .fold(prior, |sum, (rival, won)| sum + won - weights[i] / (weights[i] + weights[rival]))
                .abs()
        };
        (0..strengths.len()).map(gradient).fold(0.0, f64::max)
    }

    /// The better half of a strict order, computed by the minorise-maximise steps of Hunter (2004) in Python until
    /// nothing changed by more than 1e-14.
    const BEST_OF_16: [f64; 8] = [
        5.207_209_310_417,
        4.036_822_228_082,
        3.177_869_918_777,
        2.464_917_833_020,
        1.840_802_464_611,
        1.275_921_047_845,
        0.750_334_090_374,
        0.247_599_153_687,
    ];
    const BEST_OF_32: [f64; 4] = [8.159_656_623_669, 6.989_261_042_058, 6.130_329_535_000, 5.417_690_189_427];

    #[test]
    fn a_strict_order_is_fit_to_the_end() {
        for (count, best) in [(16, &BEST_OF_16[..]), (32, &BEST_OF_32[..])] {
            let found: Vec<f64> = strengths(count, &strict_order(count)).into_iter().flatten().collect();
            assert_eq!(found.len(), count);
            for (index, expected) in best.iter().enumerate() {
                let worst = found[count - 1 - index];
                assert!((found[index] - expected).abs() < 1e-9, "{index} of {count}: {found:?}");
                assert!((worst + expected).abs() < 1e-9, "{index} of {count}: {found:?}");
            }
        }
        for count in [64, 128] {
            let contests = strict_order(count);
            assert!(greatest_gradient(&fit(count, &contests), &contests) < 1e-9, "{count}");
        }
    }

    #[test]
    fn who_is_not_compared_has_no_strength_and_moves_nobody() {
        let contests = [Contest { one: 0, other: 2, won: 1.0 }];
        let found = strengths(3, &contests);
        let alone = strengths(2, &[Contest { one: 0, other: 1, won: 1.0 }]);
        assert_eq!((found[0], found[1], found[2]), (alone[0], None, alone[1]));
        assert!((found[0].unwrap() + found[2].unwrap()).abs() < 1e-12);
        assert_eq!(strengths(2, &[]), [None, None]);
    }

    /// Contests between some pairs of some responses, won partly or completely.
    fn contests() -> impl Strategy<Value = (usize, Vec<Contest>)> {
        (2..20usize).prop_flat_map(|count| {
            let won = prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0f64];
            let all = count * (count - 1) / 2;
            proptest::collection::vec(proptest::option::of(won), all).prop_map(move |won| {
                let pairs = strict_order(count).into_iter().zip(won);
                let contests: Vec<Contest> =
                    pairs.filter_map(|(pair, won)| Some(Contest { won: won?, ..pair })).collect();
                (count, contests)
            })
        })
    }

    proptest! {
        #[test]
        fn the_wins_are_those_that_the_strengths_lead_to_expect((count, contests) in contests()) {
            let gradient = greatest_gradient(&fit(count, &contests), &contests);
            prop_assert!(gradient < 1e-9, "{gradient}");
        }
    }
}
