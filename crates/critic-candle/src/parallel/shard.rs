//! The part of a decoder that a rank has.

use std::ops::Range;

/// The part of a decoder that a rank has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    rank: usize,
    ranks: usize,
}

impl Shard {
    /// The whole decoder.
    pub(crate) const WHOLE: Self = Self { rank: 0, ranks: 1 };

    /// The part of rank number `rank`, of `ranks`.
    ///
    /// # Panics
    /// When `rank` is not below `ranks`.
    pub(crate) fn new(rank: usize, ranks: usize) -> Self {
        assert!(rank < ranks, "rank {rank} of {ranks}");
        Self { rank, ranks }
    }

    /// Number of ranks.
    pub(crate) fn ranks(self) -> usize {
        self.ranks
    }

    /// Whether it is the whole decoder.
    pub(crate) fn is_whole(self) -> bool {
        self.ranks == 1
    }

    /// The range of this part in a list of `count` items; each item is in the part of exactly one rank.
    pub(crate) fn of(self, count: usize) -> Range<usize> {
        count * self.rank / self.ranks..count * (self.rank + 1) / self.ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_in_exactly_one_part() {
        for (count, ranks) in [(704, 2), (703, 4), (3, 4), (0, 3), (152_064, 8)] {
            let parts = (0..ranks).flat_map(|rank| Shard::new(rank, ranks).of(count));
            assert!(parts.eq(0..count), "{count} over {ranks}");
        }
    }
}
