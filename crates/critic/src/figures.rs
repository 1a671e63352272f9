//! Counters of a critic since its start, as plain data.

use std::time::Duration;

/// Counters of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// Lookups that found an entry.
    pub hits: u64,
    /// Lookups that found no entry.
    pub misses: u64,
    /// Entries evicted to make room.
    pub evictions: u64,
    /// Bytes held now.
    pub bytes: u64,
}

/// Counters of a model; 0 where the model does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackendFigures {
    /// Time spent on computing features of images and videos.
    pub vision: Duration,
    /// The cache of features. Each visual of each chunk is a lookup, but a new one that chunks share is one miss.
    pub features: CacheFigures,
    /// Bytes of one block of keys and values.
    pub block_bytes: u64,
}

/// How the memory of GPUs is divided, in bytes, summed over all GPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GpuMemory {
    /// Taken while the weights were loaded.
    pub weights: u64,
    /// Working memory of the largest steps and the largest batch of tiles.
    pub steps: u64,
    /// Reserved for features of images and videos.
    pub images: u64,
    /// The cache of keys and values.
    pub cache: u64,
    /// Kept free for graphs, for allocations within a step, and for the driver, which allocates in coarse units.
    pub spare: u64,
}

impl std::ops::Add for GpuMemory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            weights: self.weights + other.weights,
            steps: self.steps + other.steps,
            images: self.images + other.images,
            cache: self.cache + other.cache,
            spare: self.spare + other.spare,
        }
    }
}

/// Counters of a processor; 0 where the processor does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessorFigures {
    /// The cache of images that were cut into tiles.
    pub tiles: CacheFigures,
    /// Time spent on decoding and cutting images, summed over all threads.
    pub cutting: Duration,
}
