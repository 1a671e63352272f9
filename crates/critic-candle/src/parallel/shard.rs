//! Which part of a decoder a rank has.

use std::ops::Range;

use crate::{architectures::llava_onevision::TextAnatomy, error::LoadError, layers::Place};

/// Columns of matrices on a card are read by eights.
const CARD_COLUMNS: usize = 8;

/// Which part of a decoder a rank has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    rank: usize,
    ranks: usize,
}

impl Shard {
    /// All of it.
    pub(crate) const WHOLE: Self = Self { rank: 0, ranks: 1 };

    /// The part of `rank`, of `ranks`.
    pub(crate) fn new(rank: usize, ranks: usize) -> Self {
        assert!(rank < ranks, "rank {rank} of {ranks}");
        Self { rank, ranks }
    }

    /// How many ranks there are.
    pub(crate) fn ranks(self) -> usize {
        self.ranks
    }

    /// Whether it is all.
    pub(crate) fn is_whole(self) -> bool {
        self.ranks == 1
    }

    /// Which of `count` things, that stand side by side, are in it: of all parts together each is in exactly one.
    pub(crate) fn of(self, count: usize) -> Range<usize> {
        count * self.rank / self.ranks..count * (self.rank + 1) / self.ranks
    }

    /// A decoder as this rank has it, for whoever attends and activates.
    pub(crate) fn of_text(self, text: &TextAnatomy) -> TextAnatomy {
        TextAnatomy {
            heads: self.of(text.heads).len(),
            kv_heads: self.of(text.kv_heads).len(),
            intermediate_size: self.of(text.intermediate_size).len(),
            ..text.clone()
        }
    }

    /// Whether `text`, which the configuration `file` describes, can be split over so many ranks in such places.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`], which says what stands against it.
    pub(crate) fn check(places: &[Place], text: &TextAnatomy, file: &str) -> Result<(), LoadError> {
        let ranks = places.len();
        let on_cards = places.iter().any(|place| matches!(place, Place::Card(_)));
        let wide_unit = if on_cards && ranks > 1 { CARD_COLUMNS } else { 1 };
        let wanted = [
            // With whole key heads a rank has whole groups of the query heads that share them.
            ("num_key_value_heads", text.kv_heads, ranks),
            ("num_attention_heads", text.heads, ranks),
            ("intermediate_size", text.intermediate_size, ranks * wide_unit),
        ];
        for (key, found, unit) in wanted {
            if !found.is_multiple_of(unit) {
                return Err(LoadError::Unsupported {
                    file: file.into(),
                    key,
                    found: found.to_string(),
                    expected: format!("a multiple of {unit}, to be split over {ranks} ranks"),
                });
            }
        }
        Ok(())
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
