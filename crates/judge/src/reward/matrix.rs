//! Comparisons of responses with one another, and what follows from them.

use super::Signal;

/// What a critic thinks of every ordered pair of responses. An entry says by how much the one in second place is better
/// than the one in first place, from -1 to 1 or in points of a scale; one that failed is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    size: usize,
    advantages: Vec<Option<f64>>,
    signal: Signal,
    greatest: f64,
}

/// How much the place of a response weighs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PositionBias {
    /// Mean advantage of the second place over all pairs that were compared in both orders; 0 without bias.
    pub second_place: f64,
    /// How many pairs these are.
    pub pairs: usize,
    /// Share of these pairs in which the two orders name different winners.
    pub flips: f64,
}

impl Matrix {
    /// Nothing compared yet among `size` responses, none of which can be better by more than `greatest`.
    pub(crate) fn new(size: usize, signal: Signal, greatest: f64) -> Self {
        Self { size, advantages: vec![None; size * size], signal, greatest }
    }

    /// How many responses there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// By how much `second` is better than `first` when they stand in this order.
    pub fn advantage(&self, first: usize, second: usize) -> Option<f64> {
        self.advantages[first * self.size + second]
    }

    pub(crate) fn set(&mut self, first: usize, second: usize, advantage: f64) {
        self.advantages[first * self.size + second] = Some(advantage);
    }

    /// Both orders of `a` and `b`; `None` when one of them is absent. A pair of which only one order is known says as
    /// much of the places as of the responses, so it counts for nothing.
    fn both(&self, a: usize, b: usize) -> Option<(f64, f64)> {
        Some((self.advantage(a, b)?, self.advantage(b, a)?))
    }

    /// By how much `b` is better than `a`, the mean over both orders: what a constant bias towards a place adds to one
    /// order it takes from the other. Where the orders must agree and do not, nobody leads.
    pub(crate) fn lead(&self, a: usize, b: usize) -> Option<f64> {
        let (there, back) = self.both(a, b)?;
        match self.signal {
            // Who leads in both orders is the second in one of them and the first in the other.
            Signal::Agreed if there * back >= 0.0 => Some(0.0),
            Signal::Agreed | Signal::Probability | Signal::Verdict | Signal::Scores => {
                Some((there - back) / 2.0)
            }
        }
    }

    /// Pairs `(a, b)`, `a < b`, that are known in both orders.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let pairs = (0..self.size).flat_map(|a| (a + 1..self.size).map(move |b| (a, b)));
        pairs.filter(|(a, b)| self.both(*a, *b).is_some())
    }

    /// The rewards of LLaVA-Critic (arXiv 2410.02712): r_i = sum over k of a_ki less sum over l of a_il, where a_ij is the
    /// advantage of j in second place over i in first, which is twice the lead over each other one. `None` for a response that no pair is left of.
    pub(crate) fn rewards(&self) -> Vec<Option<f64>> {
        let reward = |i: usize| {
            let terms: Vec<f64> = (0..self.size)
                .filter(|k| *k != i)
                .filter_map(|k| self.lead(k, i))
                .map(|lead| 2.0 * lead)
                .collect();
            (!terms.is_empty()).then(|| terms.iter().sum())
        };
        (0..self.size).map(reward).collect()
    }

    /// How much the places weigh; `None` when no pair is known in both orders.
    pub(crate) fn position_bias(&self) -> Option<PositionBias> {
        let both: Vec<(f64, f64)> = self.pairs().filter_map(|(a, b)| self.both(a, b)).collect();
        if both.is_empty() {
            return None;
        }
        let count = both.len() as f64;
        let second_place = both.iter().map(|(there, back)| there + back).sum::<f64>() / (2.0 * count);
        // The one who leads in one order is the second there and the first here.
        let flips = both.iter().filter(|(there, back)| there * back > 0.0).count() as f64 / count;
        Some(PositionBias { second_place, pairs: both.len(), flips })
    }

    /// Strengths by the Bradley-Terry model: the logarithms of w_i where i beats j with probability w_i / (w_i + w_j), fit
    /// to the pairs by the minorise-maximise steps of Hunter (2004), mean 0. Each response also wins and loses half a
    /// comparison against one of mean strength, so that one that never loses stays finite.
    pub(crate) fn bradley_terry(&self) -> Vec<Option<f64>> {
        const PRIOR: f64 = 0.5;
        const STEPS: usize = 200;
        let pairs: Vec<(usize, usize)> = self.pairs().collect();
        // The greatest lead is a won comparison, its opposite a lost one.
        let won = |a: usize, b: usize| self.lead(b, a).map_or(0.0, |lead| (1.0 + lead / self.greatest) / 2.0);
        let mut weights = vec![1.0f64; self.size];
        for _ in 0..STEPS {
            let step = |i: usize| {
                let rivals = pairs.iter().filter_map(|(a, b)| match (*a == i, *b == i) {
                    (true, _) => Some(*b),
                    (_, true) => Some(*a),
                    _ => None,
                });
                let (mut wins, mut chances) = (PRIOR, 2.0 * PRIOR / (weights[i] + 1.0));
                for rival in rivals {
                    wins += won(i, rival);
                    chances += 1.0 / (weights[i] + weights[rival]);
                }
                wins / chances
            };
            weights = (0..self.size).map(step).collect();
        }
        let mean = weights.iter().map(|weight| weight.ln()).sum::<f64>() / self.size as f64;
        let compared = |i: usize| pairs.iter().any(|(a, b)| *a == i || *b == i);
        (0..self.size).map(|i| compared(i).then(|| weights[i].ln() - mean)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Matrix, Signal};

    fn matrix<const N: usize>(rows: [[f64; N]; N]) -> Matrix {
        matrix_of(Signal::Probability, rows)
    }

    fn matrix_of<const N: usize>(signal: Signal, rows: [[f64; N]; N]) -> Matrix {
        let mut matrix = Matrix::new(N, signal, 1.0);
        for (first, row) in rows.iter().enumerate() {
            for (second, advantage) in row.iter().enumerate().filter(|(_, advantage)| !advantage.is_nan()) {
                matrix.set(first, second, *advantage);
            }
        }
        matrix
    }

    const NO: f64 = f64::NAN;

    #[test]
    fn a_bias_towards_a_place_changes_no_reward() {
        let fair = [[NO, 0.5, -0.25], [-0.5, NO, -0.75], [0.25, 0.75, NO]];
        let biased = fair.map(|row| row.map(|advantage| advantage + 0.2));
        let rewards = |rows| matrix(rows).rewards().into_iter().map(Option::unwrap).collect::<Vec<f64>>();
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(near(&rewards(fair), &[-0.5, 2.5, -2.0]), "{:?}", rewards(fair));
        assert!(near(&rewards(biased), &rewards(fair)));
        let bias = matrix(biased).position_bias().unwrap();
        assert!((bias.second_place - 0.2).abs() < 1e-12 && bias.flips == 0.0);
    }

    #[test]
    fn a_pair_that_lacks_one_order_counts_for_nothing() {
        let partial = matrix([[NO, 1.0, NO], [-1.0, NO, NO], [0.5, 0.5, NO]]);
        assert_eq!(partial.rewards(), [Some(-2.0), Some(2.0), None]);
        assert_eq!(partial.bradley_terry()[2], None);
        assert_eq!(Matrix::new(2, Signal::Probability, 1.0).position_bias(), None);
    }

    #[test]
    fn orders_that_name_different_winners_are_flips() {
        let second_always = matrix([[NO, 1.0], [1.0, NO]]);
        let bias = second_always.position_bias().unwrap();
        assert_eq!((bias.second_place, bias.flips), (1.0, 1.0));
        assert_eq!(second_always.rewards(), [Some(0.0), Some(0.0)]);
    }

    #[test]
    fn orders_that_must_agree_and_do_not_count_for_nothing() {
        // 0 wins twice against 1; 2 wins from second place alone, and ties there against 1.
        let found = matrix_of(Signal::Agreed, [[NO, -1.0, 1.0], [1.0, NO, 1.0], [1.0, 0.0, NO]]);
        assert_eq!(found.rewards(), [Some(2.0), Some(-2.0), Some(0.0)]);
        assert_eq!((found.lead(0, 2), found.lead(1, 2), found.lead(1, 0)), (Some(0.0), Some(0.0), Some(1.0)));
        assert!(found.position_bias().unwrap().flips > 0.0);
    }

    #[test]
    fn leads_in_points_are_rewards_and_parts_of_a_won_comparison() {
        // Scores from 1 to 10: the first place costs a point, which cancels.
        let points = |there, back| {
            let mut matrix = Matrix::new(2, Signal::Scores, 9.0);
            matrix.set(0, 1, there);
            matrix.set(1, 0, back);
            matrix
        };
        assert_eq!(points(4.0, -2.0).rewards(), [Some(-6.0), Some(6.0)]);
        let parts = matrix([[NO, 4.0 / 9.0], [-2.0 / 9.0, NO]]).bradley_terry();
        for (one, other) in points(4.0, -2.0).bradley_terry().into_iter().zip(parts) {
            assert!((one.unwrap() - other.unwrap()).abs() < 1e-12);
        }
        let strengths = points(9.0, -9.0).bradley_terry();
        assert!(strengths.into_iter().all(|strength| strength.unwrap().is_finite()));
    }

    #[test]
    fn bradley_terry_orders_by_strength_and_stays_finite() {
        // 0 beats 1 beats 2, always; 3 ties with 1.
        let found =
            matrix([[NO, -1.0, -1.0, -1.0], [1.0, NO, -1.0, 0.0], [1.0, 1.0, NO, 1.0], [1.0, 0.0, -1.0, NO]]);
        let strengths: Vec<f64> = found.bradley_terry().into_iter().map(Option::unwrap).collect();
        assert!(strengths[0] > strengths[1] && strengths[1] > strengths[2], "{strengths:?}");
        assert!((strengths[1] - strengths[3]).abs() < 1e-9 && strengths.iter().sum::<f64>().abs() < 1e-9);
        assert!(strengths.iter().all(|strength| strength.is_finite()));
    }

    #[test]
    fn bradley_terry_finds_the_odds_of_a_pair() {
        // One comparison won to 3/4, and half a one each way against the mean: solved by hand for two.
        let found = matrix([[NO, 0.5], [-0.5, NO]]).bradley_terry();
        let difference = found[1].unwrap() - found[0].unwrap();
        // By symmetry w_1 = 1 / w_0 = w: 0.75 + 0.5 = w / (w + 1 / w) + w / (w + 1).
        let w = (difference / 2.0).exp();
        assert!((w / (w + 1.0 / w) + w / (w + 1.0) - 1.25).abs() < 1e-9, "{difference}");
    }
}
