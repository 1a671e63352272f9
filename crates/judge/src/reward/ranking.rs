//! The order of responses by their rewards.

use std::cmp::Ordering;

/// A pair of a better and a worse response, as used in preference learning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// Index of the best response; the first of equal ones.
    pub chosen: usize,
    /// Index of the worst response; the first of equal ones.
    pub rejected: usize,
    /// The difference of their rewards.
    pub margin: f64,
}

/// The first of the best and the first of the worst ranked responses; `None` if all are equal.
pub(super) fn pick(ranked: &[(usize, f64)]) -> Option<Pick> {
    let ((chosen, best), (_, worst)) = (ranked.first()?, ranked.last()?);
    let (rejected, _) = ranked.iter().find(|(_, reward)| reward == worst)?;
    (best > worst).then(|| Pick { chosen: *chosen, rejected: *rejected, margin: best - worst })
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
        let picked = |rewards: &[f64]| pick(&ranked(&rewards.iter().copied().map(Some).collect::<Vec<_>>()));
        assert_eq!(picked(&[4.0, -2.0, -2.0]), Some(Pick { chosen: 0, rejected: 1, margin: 6.0 }));
        assert_eq!(picked(&[-2.0, 4.0, 4.0]), Some(Pick { chosen: 1, rejected: 0, margin: 6.0 }));
        assert_eq!((picked(&[1.0, 1.0]), picked(&[1.0]), picked(&[])), (None, None, None));
        let gaps = [None, Some(-1.0), Some(2.0), None, Some(-1.0)];
        assert_eq!(pick(&ranked(&gaps)), Some(Pick { chosen: 2, rejected: 1, margin: 3.0 }));
    }
}
