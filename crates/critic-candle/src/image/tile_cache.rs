//! A cache of images that were decoded and cut recently, by the bytes of their files.

use std::{
    hash::RandomState,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use critic::{CacheFigures, ContentHash, Medium, ProcessorFigures, Tiles};
use lru::LruCache;

/// The tiles of an image or video, with the hash of their content.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) medium: Medium,
    pub(crate) hash: ContentHash,
}

/// The result for one image. Its lock is held while the image is cut, so that concurrent requests for the same
/// image wait. `None` until the image is cut, and after a failure.
type Slot = Arc<Mutex<Option<Cut>>>;

#[derive(Debug, Default)]
struct Entry {
    slot: Slot,
    /// Bytes of the tiles; 0 until the image is cut.
    bytes: usize,
}

/// A least-recently-used cache of tiles, bounded in bytes. Keys are a SHA-256 over the kind of cutting and the
/// digests of the files.
#[derive(Debug)]
pub(crate) struct TileCache {
    /// Locked only for lookups and accounting, never while an image is cut.
    entries: Mutex<Entries>,
    max_bytes: usize,
}

#[derive(Debug)]
struct Entries {
    by_key: LruCache<[u8; 32], Entry, RandomState>,
    bytes: usize,
    hits: u64,
    misses: u64,
    evictions: u64,
    cutting: Duration,
}

impl TileCache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { entries: Mutex::new(Entries::new()), max_bytes }
    }

    /// The tiles of `key`, computed by `cut` if they are not cached. Of several concurrent calls, one computes and
    /// the others wait.
    pub(crate) fn find_or<E>(&self, key: [u8; 32], cut: impl FnOnce() -> Result<Cut, E>) -> Result<Cut, E> {
        let slot = lock(&self.entries).slot(key);
        let mut content = lock(&slot);
        if let Some(known) = &*content {
            lock(&self.entries).hits += 1;
            return Ok(known.clone());
        }
        let start = Instant::now();
        let made = cut();
        lock(&self.entries).note_cut(start.elapsed());
        match &made {
            Ok(made) => {
                *content = Some(made.clone());
                lock(&self.entries).weigh(key, made.tiles.pixels.len(), self.max_bytes);
            }
            Err(_) => lock(&self.entries).forget(key),
        }
        made
    }

    /// Counters since the start.
    pub(crate) fn figures(&self) -> ProcessorFigures {
        let entries = lock(&self.entries);
        let Entries { hits, misses, evictions, cutting, .. } = *entries;
        let tiles = CacheFigures { hits, misses, evictions, bytes: entries.bytes as u64 };
        ProcessorFigures { tiles, cutting }
    }
}

impl Entries {
    fn new() -> Self {
        let by_key = LruCache::unbounded_with_hasher(RandomState::new());
        Self { by_key, bytes: 0, hits: 0, misses: 0, evictions: 0, cutting: Duration::ZERO }
    }

    fn note_cut(&mut self, duration: Duration) {
        self.misses += 1;
        self.cutting += duration;
    }

    fn slot(&mut self, key: [u8; 32]) -> Slot {
        self.by_key.get_or_insert(key, Entry::default).slot.clone()
    }

    /// Records the bytes of the entry `key`, and evicts the least recently used entries until all fit.
    fn weigh(&mut self, key: [u8; 32], bytes: usize, max_bytes: usize) {
        let Some(entry) = self.by_key.peek_mut(&key) else { return };
        self.bytes += bytes - entry.bytes;
        entry.bytes = bytes;
        while self.bytes > max_bytes {
            // Images that are being cut have no bytes yet.
            let oldest = self.by_key.iter().rev().find(|(_, entry)| entry.bytes > 0);
            let Some(oldest) = oldest.map(|(key, _)| *key) else { return };
            self.forget(oldest);
            self.evictions += 1;
        }
    }

    fn forget(&mut self, key: [u8; 32]) {
        if let Some(entry) = self.by_key.pop(&key) {
            self.bytes -= entry.bytes;
        }
    }
}

/// Ignores poisoning: a panic leaves no inconsistent state, since entries are complete or absent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn image(bytes: usize) -> Cut {
        let tiles = Arc::new(Tiles { size: 1, pixels: vec![0; bytes] });
        Cut { tiles, medium: Medium::Video, hash: [0; 32] }
    }

    /// Whether the cache had the entry.
    fn had(cache: &TileCache, key: u8, bytes: usize) -> bool {
        let mut made = false;
        let cut = || {
            made = true;
            Ok::<_, ()>(image(bytes))
        };
        cache.find_or([key; 32], cut).unwrap();
        !made
    }

    #[test]
    fn the_images_used_longest_ago_go_first() {
        let cache = TileCache::new(30);
        assert!(!had(&cache, 1, 12) && !had(&cache, 2, 12) && had(&cache, 1, 12));
        assert!(!had(&cache, 3, 12));
        assert!(had(&cache, 1, 12) && had(&cache, 3, 12) && !had(&cache, 2, 12));
        assert!(!had(&cache, 4, 31), "what never fits is cut all the same");
        assert!(!had(&cache, 4, 31) && lock(&cache.entries).bytes == 0);
        let CacheFigures { hits, misses, evictions, bytes } = cache.figures().tiles;
        assert_eq!((hits, misses, bytes), (3, 6, 0));
        assert_eq!(evictions, 6, "each that was made was given up in the end");
    }

    #[test]
    fn a_failure_is_not_kept() {
        let cache = TileCache::new(30);
        assert_eq!(cache.find_or([1; 32], || Err::<Cut, _>("damaged")).unwrap_err(), "damaged");
        assert!(!had(&cache, 1, 3) && had(&cache, 1, 3));
    }

    #[test]
    fn those_who_ask_at_the_same_time_wait_for_one() {
        let (cache, cuts) = (TileCache::new(30), AtomicUsize::new(0));
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    let cut = || {
                        cuts.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, ()>(image(3))
                    };
                    cache.find_or([1; 32], cut).unwrap();
                });
            }
        });
        assert_eq!(cuts.load(Ordering::SeqCst), 1);
    }
}
