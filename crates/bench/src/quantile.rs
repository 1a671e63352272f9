//! Quantiles of samples.

/// The median of values in any order: the middle one, or the mean of the two middle ones; `None` without any.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some(f64::midpoint(sorted[last / 2], sorted[sorted.len() / 2]))
}

/// The smallest of the sorted values that at least `percent` percent of them do not exceed: the nearest-rank
/// percentile, which is always a value that occurred. `None` without any.
pub(crate) fn nearest_rank<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::{median, nearest_rank};

    #[test]
    fn the_median_of_an_even_number_of_values_is_between_the_two_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(&[9.0, 1.0, 4.0, 2.0]), Some(3.0));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_nearest_rank_is_a_value_that_occurred() {
        assert_eq!(nearest_rank(&[1, 2, 4, 9], 50), Some(2));
        assert_eq!(nearest_rank(&[1, 2, 4, 9], 99), Some(9));
        assert_eq!(nearest_rank(&[1, 2, 4, 9], 0), Some(1));
        assert_eq!(nearest_rank::<u8>(&[], 50), None);
    }
}
