//! The compiled grammars of the latest shapes, within bounds.

use std::num::NonZeroUsize;

use engine::Guided;
use lru::LruCache;

use super::GrammarError;

/// Number of compiled grammars, and of refusals, that are kept: an evaluation uses one or a few.
pub(super) const MOST: NonZeroUsize = NonZeroUsize::new(64).expect("it is not 0");
/// Total length of the shapes of what is kept, in bytes. A compiled grammar takes about a megabyte, and up to 400 bytes for
/// each byte of its shape.
pub(super) const MOST_BYTES: usize = 512 << 10;

/// Under which a grammar is kept: the digest of its shape, and that of the callers who can find it. Others could
/// otherwise learn from the time of their first request that it was used.
pub(super) type Key = ([u8; 32], [u8; 32]);

/// Rules, or why there are none.
pub(super) type Compilation = Result<Guided, GrammarError>;

/// What was compiled of late.
pub(super) struct Kept {
    /// Each with the length of its shape in bytes.
    compilations: LruCache<Key, (Compilation, usize)>,
    bytes: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self { compilations: LruCache::new(MOST), bytes: 0 }
    }
}

impl Kept {
    pub(super) fn get(&mut self, key: &Key) -> Option<Compilation> {
        self.compilations.get(key).map(|(compilation, _)| compilation.clone())
    }

    /// Adds what was compiled from a shape of so many bytes, and removes what was not used for the longest time until all
    /// fits.
    pub(super) fn put(&mut self, key: Key, compilation: Compilation, bytes: usize) {
        self.bytes += bytes;
        // Another request may have compiled the same shape meanwhile; otherwise this is the oldest of too many.
        if let Some((_, (_, replaced))) = self.compilations.push(key, (compilation, bytes)) {
            self.bytes -= replaced;
        }
        while self.bytes > MOST_BYTES {
            let Some((_, (_, freed))) = self.compilations.pop_lru() else { break };
            self.bytes -= freed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_stay_within_their_number_and_bytes() {
        let mut kept = Kept::default();
        let key = |number: usize| ([number as u8; 32], [0; 32]);
        for number in 0..=MOST.get() {
            kept.put(key(number), Err(GrammarError::TooComplex), 1);
        }
        assert_eq!((kept.get(&key(0)), kept.bytes), (None, MOST.get()));
        kept.put(key(1), Err(GrammarError::Unsatisfiable), 5);
        assert_eq!((kept.get(&key(1)), kept.bytes), (Some(Err(GrammarError::Unsatisfiable)), MOST.get() + 4));
        kept.put(key(100), Err(GrammarError::TooComplex), MOST_BYTES - 5);
        assert!(kept.get(&key(1)).is_some() && kept.get(&key(2)).is_none());
        assert_eq!(kept.bytes, MOST_BYTES);
        kept.put(key(101), Err(GrammarError::TooComplex), MOST_BYTES + 1);
        assert_eq!((kept.compilations.len(), kept.bytes), (0, 0));
    }
}
