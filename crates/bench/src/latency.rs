//! Statistics of many durations.

use std::time::Duration;

use serde::Serialize;

use crate::quantile::nearest_rank;

/// Mean, percentiles and maximum of durations, in milliseconds; all 0 without any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The mean.
    pub mean_ms: f64,
    /// Half of the times are at most this.
    pub p50_ms: f64,
    /// Nine tenths of the times are at most this.
    pub p90_ms: f64,
    /// All but a hundredth of the times are at most this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latency {
    /// Computes the statistics of durations in any order.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let total: Duration = times.iter().sum();
        let percentile = |percent| nearest_rank(&times, percent).map_or(0.0, ms);
        Self {
            mean_ms: ms(total) / times.len().max(1) as f64,
            p50_ms: percentile(50),
            p90_ms: percentile(90),
            p99_ms: percentile(99),
            max_ms: percentile(100),
        }
    }
}

/// Latencies of several answers.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Times {
    /// The number of answers.
    pub count: usize,
    /// Their statistics.
    #[serde(flatten)]
    pub latency: Latency,
}

impl Times {
    pub(crate) fn of(times: Vec<Duration>) -> Self {
        Self { count: times.len(), latency: Latency::of(times) }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latency;

    fn of(times_ms: impl IntoIterator<Item = u64>) -> Latency {
        Latency::of(times_ms.into_iter().map(Duration::from_millis).collect())
    }

    #[test]
    fn percentiles_are_times_that_occurred() {
        let hundred = of((1..=100).rev());
        assert_eq!((hundred.p50_ms, hundred.p90_ms, hundred.p99_ms), (50.0, 90.0, 99.0));
        assert_eq!((hundred.mean_ms, hundred.max_ms), (50.5, 100.0));
        let ten = of((1..=10).map(|ms| ms * 10));
        assert_eq!((ten.p50_ms, ten.p90_ms, ten.p99_ms), (50.0, 90.0, 100.0));
        let three = of([5, 1, 3]);
        assert_eq!((three.p50_ms, three.p90_ms, three.p99_ms), (3.0, 5.0, 5.0));
    }

    #[test]
    fn one_time_and_none_have_percentiles_too() {
        let one = of([7]);
        assert_eq!((one.p50_ms, one.p99_ms, one.mean_ms, one.max_ms), (7.0, 7.0, 7.0, 7.0));
        assert_eq!(of([]), Latency::default());
    }
}
