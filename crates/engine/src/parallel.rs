//! Parallel processing of large arrays.

use rayon::prelude::*;

/// Number of values from which waking other threads pays off: it takes some tens of microseconds, as long as one
/// thread needs to choose a token among a hundred thousand.
const MIN_PARALLEL: usize = 1 << 20;

/// Applies `of` to each item and keeps their order; `numbers` is the number of values in all items together.
pub(crate) fn map<T: Send, R: Send>(
    items: Vec<T>,
    numbers: usize,
    of: impl Fn(T) -> R + Sync + Send,
) -> Vec<R> {
    if numbers < MIN_PARALLEL {
        items.into_iter().map(of).collect()
    } else {
        items.into_par_iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kept_however_many_numbers_there_are() {
        for numbers in [0, MIN_PARALLEL - 1, MIN_PARALLEL] {
            assert_eq!(
                map((0..1000).collect(), numbers, |item: usize| item + 1),
                (1..1001).collect::<Vec<_>>()
            );
        }
    }
}
