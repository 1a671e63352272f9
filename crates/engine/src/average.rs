//! A moving average of recent measurements.

/// The weight of the latest value: about the last ten values count, and no single one dominates.
const LATEST: f64 = 0.1;

/// An exponential moving average of positive values.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct MovingAverage {
    /// The average; 0 before the first value.
    value: f64,
}

impl MovingAverage {
    /// The average after one more value.
    pub(crate) fn after(self, latest: f64) -> Self {
        let value = self.value().map_or(latest, |before| (1.0 - LATEST) * before + LATEST * latest);
        Self { value }
    }

    /// The average; `None` before the first value.
    pub(crate) fn value(self) -> Option<f64> {
        (self.value > 0.0).then_some(self.value)
    }

    /// The bits of the average, for storage in an atomic; 0 before the first value.
    pub(crate) fn to_bits(self) -> u64 {
        self.value.to_bits()
    }

    /// The average with these bits, as returned by [`to_bits`](Self::to_bits).
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { value: f64::from_bits(bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_is_the_average_and_later_ones_move_it_by_a_tenth() {
        assert_eq!((MovingAverage::default().value(), MovingAverage::from_bits(0).value()), (None, None));
        let first = MovingAverage::default().after(20.0);
        assert_eq!(first.value(), Some(20.0));
        let second = MovingAverage::from_bits(first.to_bits()).after(30.0);
        assert!(second.value().is_some_and(|value| (value - 21.0).abs() < 1e-12));
    }
}
