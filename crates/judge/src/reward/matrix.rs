//! A matrix of pairwise comparisons, and the rewards computed from it.

use rubric::Preference;

use super::{
    Signal,
    ranking::rounded,
    strengths::{Contest, strengths},
};

/// The result of comparing two responses in one order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Comparison {
    /// The advantage of the response in second place over that in first place, from -1 to 1 or in points of a scale.
    pub(crate) advantage: f64,
    /// The preference of the verdict, in terms of the places.
    pub(crate) preference: Preference,
}

/// The result for every ordered pair of responses; failed comparisons are absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    size: usize,
    comparisons: Vec<Option<Comparison>>,
    signal: Signal,
    greatest: f64,
}

/// The effect of a response's position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PositionBias {
    /// Mean advantage of the second place over all pairs compared in both orders; 0 without bias.
    pub second_place: f64,
    /// The number of these pairs.
    pub pairs: usize,
    /// The fraction of these pairs whose two orders have different winners.
    pub flips: f64,
}

impl Matrix {
    /// An empty matrix for `size` responses, whose advantages are at most `greatest`.
    pub(crate) fn new(size: usize, signal: Signal, greatest: f64) -> Self {
        Self { size, comparisons: vec![None; size * size], signal, greatest }
    }

    /// The number of responses.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The advantage of `second` over `first`, compared in this order; `None` if there is no result.
    pub fn advantage(&self, first: usize, second: usize) -> Option<f64> {
        self.comparison(first, second).map(|comparison| comparison.advantage)
    }

    fn comparison(&self, first: usize, second: usize) -> Option<Comparison> {
        self.comparisons[first * self.size + second]
    }

    pub(crate) fn set(&mut self, first: usize, second: usize, comparison: Comparison) {
        self.comparisons[first * self.size + second] = Some(comparison);
    }

    /// The results of both orders of `a` and `b`; `None` when one is missing. A single order reflects the position
    /// as much as the responses, so that it is not used.
    fn both(&self, a: usize, b: usize) -> Option<(Comparison, Comparison)> {
        Some((self.comparison(a, b)?, self.comparison(b, a)?))
    }

    /// The lead of `b` over `a`, as the mean of both orders, in which a constant position bias cancels. With
    /// [`Signal::Agreed`], 0 if the orders disagree.
    pub(crate) fn lead(&self, a: usize, b: usize) -> Option<f64> {
        let (there, back) = self.both(a, b)?;
        let (there, back) = (there.advantage, back.advantage);
        match self.signal {
            // A response that wins in both orders is second in one of them and first in the other, so that the
            // signs differ.
            Signal::Agreed if there * back >= 0.0 => Some(0.0),
            Signal::Agreed | Signal::Probability | Signal::Verdict | Signal::Scores => {
                Some((there - back) / 2.0)
            }
        }
    }

    /// Whether `worse` lost: against `better` if they were compared, otherwise against any other response.
    pub(crate) fn lost(&self, worse: usize, better: usize) -> bool {
        let leads = |other: usize| self.lead(worse, other).is_some_and(|lead| lead > 0.0);
        match self.lead(worse, better) {
            Some(lead) => lead > 0.0,
            None => (0..self.size).any(|other| other != worse && leads(other)),
        }
    }

    /// Pairs `(a, b)`, `a < b`, with results in both orders.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let pairs = (0..self.size).flat_map(|a| (a + 1..self.size).map(move |b| (a, b)));
        pairs.filter(|(a, b)| self.both(*a, *b).is_some())
    }

    /// The rewards of LLaVA-Critic (arXiv 2410.02712): r_i = sum over k of a_ki minus sum over l of a_il, where
    /// a_ij is the advantage of j in second place over i in first. This is twice the sum of the leads over all
    /// others. Where pairs lack a result, it is twice the mean of the known leads, times the number of others: with a
    /// plain sum, a failed comparison would move a response towards the middle. `None` for a response without a
    /// complete pair.
    pub(crate) fn rewards(&self) -> Vec<Option<f64>> {
        let reward = |i: usize| {
            let others = (0..self.size).filter(|k| *k != i);
            let terms: Vec<f64> =
                others.clone().filter_map(|k| self.lead(k, i)).map(|lead| 2.0 * lead).collect();
            let share_known = terms.len() as f64 / others.count() as f64;
            (!terms.is_empty()).then(|| rounded(terms.iter().sum::<f64>() / share_known, 12))
        };
        (0..self.size).map(reward).collect()
    }

    /// The position bias; `None` when no pair has results in both orders.
    pub(crate) fn position_bias(&self) -> Option<PositionBias> {
        let both: Vec<_> = self.pairs().filter_map(|(a, b)| self.both(a, b)).collect();
        if both.is_empty() {
            return None;
        }
        let count = both.len() as f64;
        let advantages = both.iter().map(|(there, back)| there.advantage + back.advantage);
        let second_place = advantages.sum::<f64>() / (2.0 * count);
        // The places are swapped, so that the same place is another response.
        let is_flip = |(there, back): &&(Comparison, Comparison)| {
            there.preference == back.preference && there.preference != Preference::Tie
        };
        let flips = both.iter().filter(is_flip).count() as f64 / count;
        Some(PositionBias { second_place, pairs: both.len(), flips })
    }

    /// Strengths of the Bradley-Terry model, with mean 0. Each response also wins and loses half a comparison
    /// against an opponent of strength 0, so that one that never loses has a finite strength.
    pub(crate) fn bradley_terry(&self) -> Vec<Option<f64>> {
        let contest = |(one, other): (usize, usize)| {
            // The greatest lead counts as a win, its opposite as a loss.
            let won = f64::midpoint(1.0, self.lead(other, one)? / self.greatest);
            Some(Contest { one, other, won })
        };
        strengths(self.size, &self.pairs().filter_map(contest).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Matrix, Preference, Signal};

    /// The comparison of a critic that prefers what has an advantage.
    fn comparison(advantage: f64) -> Comparison {
        let preference = match advantage {
            advantage if advantage > 0.0 => Preference::Second,
            advantage if advantage < 0.0 => Preference::First,
            _ => Preference::Tie,
        };
        Comparison { advantage, preference }
    }

    fn matrix<const N: usize>(rows: [[f64; N]; N]) -> Matrix {
        matrix_of(Signal::Probability, rows)
    }

    fn matrix_of<const N: usize>(signal: Signal, rows: [[f64; N]; N]) -> Matrix {
        let mut matrix = Matrix::new(N, signal, 1.0);
        for (first, row) in rows.iter().enumerate() {
            for (second, advantage) in row.iter().enumerate().filter(|(_, advantage)| !advantage.is_nan()) {
                matrix.set(first, second, comparison(*advantage));
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
        assert_eq!(partial.rewards(), [Some(-4.0), Some(4.0), None]);
        assert_eq!(partial.bradley_terry()[2], None);
        assert_eq!(Matrix::new(2, Signal::Probability, 1.0).position_bias(), None);
    }

    #[test]
    fn a_failed_pair_moves_nobody_towards_the_middle() {
        // 0 beats 1, and 1 beats 2.
        let whole = matrix([[NO, -1.0, -1.0], [1.0, NO, -1.0], [1.0, 1.0, NO]]);
        let failed = matrix([[NO, -1.0, NO], [1.0, NO, -1.0], [1.0, 1.0, NO]]);
        assert_eq!(whole.rewards(), [Some(4.0), Some(0.0), Some(-4.0)]);
        assert_eq!(failed.rewards(), whole.rewards());
    }

    #[test]
    fn orders_that_name_different_winners_are_flips() {
        let second_always = matrix([[NO, 1.0], [1.0, NO]]);
        let bias = second_always.position_bias().unwrap();
        assert_eq!((bias.second_place, bias.flips), (1.0, 1.0));
        assert_eq!(second_always.rewards(), [Some(0.0), Some(0.0)]);
        // A tie names no winner, whichever place is the more probable one beside it.
        let mut ties = Matrix::new(2, Signal::Probability, 1.0);
        ties.set(0, 1, Comparison { advantage: 0.1, preference: Preference::Tie });
        ties.set(1, 0, Comparison { advantage: 0.1, preference: Preference::Tie });
        assert_eq!(ties.position_bias().unwrap().flips, 0.0);
    }

    #[test]
    fn orders_that_must_agree_and_do_not_count_for_nothing() {
        // 0 beats 1 in both orders; 2 beats 0 only in second place, and against 1 one order is a tie.
        let found = matrix_of(Signal::Agreed, [[NO, -1.0, 1.0], [1.0, NO, 1.0], [1.0, 0.0, NO]]);
        assert_eq!(found.rewards(), [Some(2.0), Some(-2.0), Some(0.0)]);
        assert_eq!((found.lead(0, 2), found.lead(1, 2), found.lead(1, 0)), (Some(0.0), Some(0.0), Some(1.0)));
        assert!(found.position_bias().unwrap().flips > 0.0);
    }

    #[test]
    fn leads_in_points_are_rewards_and_parts_of_a_won_comparison() {
        // Scores from 1 to 10; the first place costs a point, which cancels.
        let points = |there, back| {
            let mut matrix = Matrix::new(2, Signal::Scores, 9.0);
            matrix.set(0, 1, comparison(there));
            matrix.set(1, 0, comparison(back));
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
        // 0 always beats 1, and 1 always beats 2; 3 ties with 1.
        let found =
            matrix([[NO, -1.0, -1.0, -1.0], [1.0, NO, -1.0, 0.0], [1.0, 1.0, NO, 1.0], [1.0, 0.0, -1.0, NO]]);
        let strengths: Vec<f64> = found.bradley_terry().into_iter().map(Option::unwrap).collect();
        assert!(strengths[0] > strengths[1] && strengths[1] > strengths[2], "{strengths:?}");
        assert!((strengths[1] - strengths[3]).abs() < 1e-9 && strengths.iter().sum::<f64>().abs() < 1e-9);
        assert!(strengths.iter().all(|strength| strength.is_finite()));
    }

    #[test]
    fn bradley_terry_finds_the_odds_of_a_pair() {
        // One comparison won to 3/4, and half a win and half a loss against the prior, solved by hand for two
        // responses.
        let found = matrix([[NO, 0.5], [-0.5, NO]]).bradley_terry();
        let difference = found[1].unwrap() - found[0].unwrap();
        // By symmetry w_1 = 1 / w_0 = w: 0.75 + 0.5 = w / (w + 1 / w) + w / (w + 1).
        let w = (difference / 2.0).exp();
        assert!((w / (w + 1.0 / w) + w / (w + 1.0) - 1.25).abs() < 1e-9, "{difference}");
    }
}
