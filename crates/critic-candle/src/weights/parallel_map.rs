//! Conversions and tests of many numbers, on several threads if there are enough.

use rayon::prelude::*;

/// Numbers that one thread processes at a time: far more work than scheduling them.
pub(super) const NUMBERS_AT_ONCE: usize = 1 << 20;

/// Weights that are converted to floats at a time where all of them would take too much memory: enough for several
/// threads, and a multiple of every block size.
pub(crate) const FLOATS_AT_ONCE: usize = 16 * NUMBERS_AT_ONCE;

/// The results of `change` for each of `items`, in their order.
pub(crate) fn map_all<A: Sync, B: Clone + Default + Send>(
    items: &[A],
    change: impl Fn(&A) -> B + Sync,
) -> Vec<B> {
    let mut all = vec![B::default(); items.len()];
    let fill = |(places, items): (&mut [B], &[A])| {
        for (place, item) in places.iter_mut().zip(items) {
            *place = change(item);
        }
    };
    if items.len() <= NUMBERS_AT_ONCE {
        fill((all.as_mut_slice(), items));
    } else {
        all.par_chunks_mut(NUMBERS_AT_ONCE).zip(items.par_chunks(NUMBERS_AT_ONCE)).for_each(fill);
    }
    all
}

/// Whether `holds` returns true for every part of `items`.
pub(super) fn all_parts<A: Sync>(items: &[A], holds: impl Fn(&[A]) -> bool + Sync) -> bool {
    if items.len() <= NUMBERS_AT_ONCE { holds(items) } else { items.par_chunks(NUMBERS_AT_ONCE).all(&holds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_numbers_are_made_as_few_are() {
        for count in [0, 1, NUMBERS_AT_ONCE, NUMBERS_AT_ONCE + 1, 3 * NUMBERS_AT_ONCE - 7] {
            let items: Vec<u32> = (0..count as u32).collect();
            let wanted: Vec<u64> = items.iter().map(|item| u64::from(*item) * 3).collect();
            assert!(map_all(&items, |item| u64::from(*item) * 3) == wanted, "{count}");
            assert!(all_parts(&items, |part| part.iter().all(|item| (*item as usize) < count)));
            assert_eq!(all_parts(&items, |part| !part.contains(&(count as u32).wrapping_sub(1))), count == 0);
        }
    }
}
