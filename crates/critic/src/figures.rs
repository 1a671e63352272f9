//! What a critic did since its start, in plain figures.

use std::time::Duration;

/// A cache at work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// How often what was looked for was there.
    pub hits: u64,
    /// How often it was not.
    pub misses: u64,
    /// How much was given up to make room.
    pub evictions: u64,
    /// Bytes that it holds now.
    pub bytes: u64,
}

/// A model at work. What a model does not know of itself is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackendFigures {
    /// Time spent on features of images.
    pub vision: Duration,
    /// Features of images that are kept, each image counted once a step.
    pub features: CacheFigures,
    /// Bytes of one block of keys and values.
    pub block_bytes: u64,
}

/// How the memory of GPUs is shared out, in bytes; of several GPUs it is that of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GpuMemory {
    /// Weights, and what the driver and others took before.
    pub weights: u64,
    /// What the largest steps and the largest batch of tiles work in.
    pub steps: u64,
    /// Features of images.
    pub images: u64,
    /// Keys and values.
    pub cache: u64,
    /// What is kept free: for graphs, and since the driver cannot divide memory exactly.
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

/// A processor at work. What a processor does not know of itself is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessorFigures {
    /// Images that are kept as tiles.
    pub tiles: CacheFigures,
    /// Time spent on decoding and cutting images, of all threads together.
    pub cutting: Duration,
}
