//! The order of responses by their rewards.

use std::cmp::Ordering;

/// A pair of a better and a worse response, as used in preference learning. Their texts differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// Index of the best response; the first of equal ones.
    pub chosen: usize,
    /// Index of the worst response; the first of equal ones. In a tournament, one that lost a meeting and did not
    /// only come later than one that was as good.
    pub rejected: usize,
    /// The difference of their rewards.
    pub margin: f64,
}

/// The best ranked response and the worst one, each the first of equal ones; of the worst, only those count of which
/// `is_worse(response, best)` is true. `None` if there is none, or all have equal rewards.
pub(super) fn pick(ranked: &[(usize, f64)], is_worse: impl Fn(usize, usize) -> bool) -> Option<Pick> {
    let ((chosen, best), (_, worst)) = (*ranked.first()?, *ranked.last()?);
    let mut last = ranked.iter().filter(|(_, reward)| *reward == worst).map(|(index, _)| *index);
    let rejected = last.find(|index| is_worse(*index, chosen))?;
    (best > worst).then_some(Pick { chosen, rejected, margin: best - worst })
}

/// A reward without the rounding errors of its computation, by which equal responses would differ.
pub(super) fn rounded(reward: f64, decimals: i32) -> f64 {
    let unit = 10_f64.powi(decimals);
    (reward * unit).round() / unit + 0.0
}

/// The responses with a reward, best first; equal ones in their original order.
pub(super) fn ranked(rewards: &[Option<f64>]) -> Vec<(usize, f64)> {
    let mut ranked: Vec<(usize, f64)> =
        rewards.iter().enumerate().filter_map(|(index, reward)| Some((index, (*reward)?))).collect();
    ranked.sort_by(|(_, a), (_, b)| b.partial_cmp(a).unwrap_or(Ordering::Equal));
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_responses_the_first_is_picked_at_either_end() {
        let picked = |rewards: &[f64]| {
            pick(&ranked(&rewards.iter().copied().map(Some).collect::<Vec<_>>()), |_, _| true)
        };
        assert_eq!(picked(&[4.0, -2.0, -2.0]), Some(Pick { chosen: 0, rejected: 1, margin: 6.0 }));
        assert_eq!(picked(&[-2.0, 4.0, 4.0]), Some(Pick { chosen: 1, rejected: 0, margin: 6.0 }));
        assert_eq!((picked(&[1.0, 1.0]), picked(&[1.0]), picked(&[])), (None, None, None));
        let gaps = [None, Some(-1.0), Some(2.0), None, Some(-1.0)];
        assert_eq!(pick(&ranked(&gaps), |_, _| true), Some(Pick { chosen: 2, rejected: 1, margin: 3.0 }));
        assert_eq!(pick(&ranked(&gaps), |worse, _| worse == 4).unwrap().rejected, 4);
        assert_eq!(pick(&ranked(&gaps), |_, _| false), None);
    }
}
