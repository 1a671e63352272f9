//! A cache whose entries fill a bounded part of the memory.

use std::{
    hash::{Hash, RandomState},
    num::NonZeroUsize,
};

use lru::LruCache;

/// The entries used last, within a bound on their bytes.
pub(crate) struct ByteCache<K, V> {
    /// Each entry with its size in bytes.
    entries: LruCache<K, (V, usize), RandomState>,
    bytes: usize,
    most_bytes: usize,
}

impl<K: Hash + Eq, V: Clone> ByteCache<K, V> {
    /// A cache of at most `most_bytes` bytes.
    pub(crate) fn new(most_bytes: usize) -> Self {
        let entries = LruCache::unbounded_with_hasher(RandomState::new());
        Self { entries, bytes: 0, most_bytes }
    }

    /// A cache of at most `most_entries` entries and `most_bytes` bytes.
    pub(crate) fn with_most_entries(most_entries: NonZeroUsize, most_bytes: usize) -> Self {
        let entries = LruCache::with_hasher(most_entries, RandomState::new());
        Self { entries, bytes: 0, most_bytes }
    }

    /// The entry of a key, which is then the one used last.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        self.entries.get(key).map(|(value, _)| value.clone())
    }

    /// Adds an entry of so many bytes, and removes those that were not used for the longest time until all fit.
    pub(crate) fn put(&mut self, key: K, value: V, bytes: usize) {
        self.bytes += bytes;
        // The key may have an entry already, if two requests missed it at once; otherwise this is the oldest of too many.
        if let Some((_, (_, removed))) = self.entries.push(key, (value, bytes)) {
            self.bytes -= removed;
        }
        while self.bytes > self.most_bytes {
            let Some((_, (_, removed))) = self.entries.pop_lru() else { break };
            self.bytes -= removed;
        }
    }
}

#[cfg(test)]
impl<K: Hash + Eq, V> ByteCache<K, V> {
    /// The number of entries, and of their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    /// Whether a key has an entry, which is not used by this.
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.entries.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_stay_within_their_number_and_bytes() {
        let (most, most_bytes) = (64, 512);
        let mut cache = ByteCache::with_most_entries(NonZeroUsize::new(most).unwrap(), most_bytes);
        for key in 0..=most {
            cache.put(key, 'a', 1);
        }
        assert_eq!((cache.get(&0), cache.bytes), (None, most));
        cache.put(1, 'b', 5);
        assert_eq!((cache.get(&1), cache.bytes), (Some('b'), most + 4));
        cache.put(100, 'a', most_bytes - 5);
        assert!(cache.get(&1).is_some() && cache.get(&2).is_none());
        assert_eq!(cache.bytes, most_bytes);
        cache.put(101, 'a', most_bytes + 1);
        assert_eq!(cache.size(), (0, 0));
    }
}
