//! Confidence intervals by bootstrap resampling.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Serialize;

/// For more rows than this a fifth of the samples is drawn, so that a report does not take minutes.
const MANY_ROWS: usize = 5000;

/// A figure with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
    /// The number of rows it is computed from.
    pub count: usize,
}

/// Draws samples of the same number of clusters with replacement. Rows of one cluster, such as those about one
/// image, are drawn together, since they are not independent.
#[derive(Debug, Clone, Copy)]
pub struct Bootstrap {
    /// The seed of all samples.
    pub seed: u64,
    /// The number of samples.
    pub draws: usize,
}

impl Bootstrap {
    /// The `statistic` of `rows`, each with its cluster's number, and the percentile interval over the samples.
    /// `None` where the statistic is undefined; samples for which it is undefined are ignored.
    pub fn estimate<T: Clone>(
        self,
        rows: &[(usize, T)],
        statistic: impl Fn(&[T]) -> Option<f64>,
    ) -> Option<Estimate> {
        let mut clusters: BTreeMap<usize, Vec<T>> = BTreeMap::new();
        for (cluster, row) in rows {
            clusters.entry(*cluster).or_default().push(row.clone());
        }
        let all: Vec<T> = rows.iter().map(|(_, row)| row.clone()).collect();
        let value = statistic(&all)?;
        let clusters: Vec<Vec<T>> = clusters.into_values().collect();
        let mut random = StdRng::seed_from_u64(self.seed);
        let draws = if rows.len() > MANY_ROWS { self.draws.div_ceil(5) } else { self.draws };
        let mut values: Vec<f64> = (0..draws)
            .filter_map(|_| {
                let draw =
                    (0..clusters.len()).flat_map(|_| &clusters[random.random_range(0..clusters.len())]);
                statistic(&draw.cloned().collect::<Vec<_>>())
            })
            .collect();
        values.sort_by(f64::total_cmp);
        let [low, high] = [0.025, 0.975].map(|part| percentile(&values, part).unwrap_or(value));
        Some(Estimate { value, low, high, count: rows.len() })
    }
}

/// The quantile `part` of sorted `values`, interpolated linearly; `None` if there are none.
fn percentile(values: &[f64], part: f64) -> Option<f64> {
    let place = part * values.len().checked_sub(1)? as f64;
    let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::mean;

    const BOOTSTRAP: Bootstrap = Bootstrap { seed: 1, draws: 2000 };

    fn of_mean(rows: &[(usize, f64)]) -> Estimate {
        BOOTSTRAP.estimate(rows, |values| mean(values.iter().copied())).unwrap()
    }

    #[test]
    fn the_interval_of_a_mean_is_about_that_of_theory() {
        // The standard error of the mean of 0..100 is 28.87 / 10; the interval has 1.96 of these on either
        // side.
        let rows: Vec<(usize, f64)> = (0..100).map(|index| (index, index as f64)).collect();
        let found = of_mean(&rows);
        assert_eq!((found.value, found.count), (49.5, 100));
        assert!((found.low - 43.84).abs() < 0.6 && (found.high - 55.16).abs() < 0.6, "{found:?}");
        assert_eq!(of_mean(&rows), found);
    }

    #[test]
    fn rows_that_come_together_tell_less() {
        let apart: Vec<(usize, f64)> = (0..100).map(|index| (index, (index / 10) as f64)).collect();
        let together: Vec<(usize, f64)> = apart.iter().map(|(_, value)| (*value as usize, *value)).collect();
        let width = |found: Estimate| found.high - found.low;
        // Ten clusters of ten equal rows have the information of ten rows: the interval is sqrt(10) times as
        // wide.
        let ratio = width(of_mean(&together)) / width(of_mean(&apart));
        assert!((ratio - 10f64.sqrt()).abs() < 0.4, "{ratio}");
    }

    #[test]
    fn what_is_not_defined_has_no_estimate() {
        assert!(BOOTSTRAP.estimate(&[(0, 1.0)], |_| None).is_none());
    }
}
