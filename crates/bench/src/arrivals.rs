//! Arrival times of requests: independent of one another and of how the server copes.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

/// An infinite sequence of arrival times since the start: a Poisson process.
pub(crate) struct Arrivals {
    random: StdRng,
    rate_per_s: f64,
    at_s: f64,
}

impl Arrivals {
    /// Creates arrivals at a mean of `rate_per_s`, which must be above 0; equal seeds give equal times.
    pub(crate) fn new(rate_per_s: f64, seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), rate_per_s, at_s: 0.0 }
    }

    /// The mean number of arrivals per second.
    pub(crate) fn rate_per_s(&self) -> f64 {
        self.rate_per_s
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // `1 - u` is in (0, 1], so the logarithm is finite.
        self.at_s -= (1.0 - self.random.random::<f64>()).ln() / self.rate_per_s;
        // At a rate near 0 the next arrival may exceed the range of `Duration`: then the iterator ends.
        Duration::try_from_secs_f64(self.at_s).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Arrivals;

    #[test]
    fn gaps_have_the_mean_and_the_spread_of_a_poisson_process() {
        let times: Vec<f64> = Arrivals::new(50.0, 7).take(20_000).map(|at| at.as_secs_f64()).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 0.02).abs() < 0.001, "{mean}");
        assert!((variance.sqrt() - 0.02).abs() < 0.001, "{variance}");
    }

    #[test]
    fn a_seed_repeats() {
        let ten = |seed| Arrivals::new(1.0, seed).take(10).collect::<Vec<_>>();
        assert_eq!(ten(3), ten(3));
        assert_ne!(ten(3), ten(4));
    }
}
