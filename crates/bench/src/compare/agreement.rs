//! How much the probabilities differ that two programs give to the same verdicts.

use serde::Serialize;

/// Absolute differences between the natural logarithms of the probabilities of labels, Gavel's and a peer's,
/// over all prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// The number of labels compared, over all prompts.
    pub labels: usize,
    /// The largest difference.
    pub largest: f64,
    /// The mean of all differences.
    pub mean: f64,
}

impl Agreement {
    /// Compares the labels of the same prompts in the same order; `None` if the two sides differ in number, or
    /// have no labels.
    pub(crate) fn of(gavel: &[Vec<f64>], peer: &[Vec<f64>]) -> Option<Self> {
        let alike = gavel.len() == peer.len();
        if !alike || gavel.iter().zip(peer).any(|(own, other)| own.len() != other.len()) {
            return None;
        }
        let pairs = gavel.iter().flatten().zip(peer.iter().flatten());
        let differences: Vec<f64> = pairs.map(|(own, other)| (own - other).abs()).collect();
        let labels = differences.len();
        (labels > 0).then(|| Self {
            labels,
            largest: differences.iter().copied().fold(0.0, f64::max),
            mean: differences.iter().sum::<f64>() / labels as f64,
        })
    }

    /// The line in reports.
    pub(crate) fn line(self) -> String {
        let Self { labels, largest, mean } = self;
        format!(
            "Log-probabilities of {labels} labels differ from those of transformers by {largest:.4} at most, {mean:.4} on average."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Agreement;

    #[test]
    fn the_largest_difference_is_found_and_what_is_not_alike_is_not_compared() {
        let agreement = Agreement::of(&[vec![-1.0, -2.0], vec![-3.0]], &[vec![-1.5, -2.0], vec![-2.0]]);
        assert_eq!(agreement, Some(Agreement { labels: 3, largest: 1.0, mean: 0.5 }));
        assert_eq!(Agreement::of(&[vec![-1.0]], &[vec![-1.0, -2.0]]), None);
        assert_eq!(Agreement::of(&[vec![-1.0]], &[]), None);
        assert_eq!(Agreement::of(&[], &[]), None);
    }
}
