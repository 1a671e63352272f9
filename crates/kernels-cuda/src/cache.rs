//! Keys and values of one layer in blocks, which are stored there with rotary position embeddings applied.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, PushKernelArg};
use half::bf16;

use crate::{
    error::Result,
    gpu::{Gpu, Grid},
    rows::Rows,
    step::Step,
};

/// The number of positions in a block.
pub const BLOCK_SIZE: usize = 32;

/// Threads of a block, and the numbers of a row that each processes, as in `cuda/rotate.cu`.
const THREADS: u32 = 128;
const THREAD_NUMBERS: usize = 8;

/// The attention heads of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// The number of query heads.
    pub heads: usize,
    /// The number of KV heads; a divisor of `heads`.
    pub kv_heads: usize,
    /// The size (D) of each head.
    pub size: usize,
}

impl Heads {
    /// Returns the number of query heads that share a KV head.
    pub(crate) fn group(self) -> usize {
        self.heads / self.kv_heads
    }

    /// Returns the length of a row of queries, keys and values.
    pub(crate) fn row(self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.size
    }
}

/// The keys and values of one layer.
#[derive(Debug)]
pub struct PagedCache {
    pub(crate) heads: Heads,
    pub(crate) blocks: usize,
    pub(crate) keys: CudaSlice<bf16>,   // [blocks][K][BLOCK_SIZE][D]
    pub(crate) values: CudaSlice<bf16>, // [blocks][K][BLOCK_SIZE][D]
}

/// The cosines and sines of every position.
#[derive(Debug)]
pub struct RotaryTable {
    cosines: CudaSlice<f32>, // [positions, D / 2]
    sines: CudaSlice<f32>,   // [positions, D / 2]
    positions: usize,
    head_size: usize,
}

impl RotaryTable {
    /// Uploads `cosines` and `sines` `[positions, head_size / 2]`.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if they cannot be stored on the GPU.
    ///
    /// # Panics
    /// If `cosines` and `sines` differ in length, or `head_size` is below 2.
    pub fn new(gpu: &Arc<Gpu>, (cosines, sines): (&[f32], &[f32]), head_size: usize) -> Result<Self> {
        assert_eq!(cosines.len(), sines.len(), "a sine for each cosine");
        let positions = cosines.len() / (head_size / 2);
        Ok(Self { cosines: gpu.upload(cosines)?, sines: gpu.upload(sines)?, positions, head_size })
    }
}

impl PagedCache {
    /// Creates an empty cache of `blocks` blocks.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if it cannot be allocated on the GPU.
    pub fn new(gpu: &Arc<Gpu>, heads: Heads, blocks: usize) -> Result<Self> {
        let count = blocks * heads.kv_heads * BLOCK_SIZE * heads.size;
        // Zeroed, since a slot that was never written may be multiplied by a weight of 0, which would not cancel a
        // NaN.
        Ok(Self { heads, blocks, keys: gpu.zeros(count)?, values: gpu.zeros(count)? })
    }

    /// Rotates the queries and keys of `projections` `[T, (H + 2 K) * D]`, where a row is queries, keys and values,
    /// by their positions. Queries are rotated in place; keys and values are written to the cache.
    ///
    /// # Errors
    /// `Error::NoKernels` or `Error::Driver` if the kernel cannot be loaded or run.
    ///
    /// # Panics
    /// If the shapes do not match, the head size is not a multiple of 8, or a block or position of `step` is missing
    /// as in [`assert_has`](Self::assert_has).
    pub fn rotate_and_store(
        &mut self,
        projections: &mut Rows,
        table: &RotaryTable,
        step: &Step,
    ) -> Result<()> {
        let (rows, columns) = projections.shape();
        assert_eq!((rows, columns), (step.tokens(), self.heads.row()), "rows of a step");
        assert_eq!(table.head_size, self.heads.size, "size of a head");
        assert!(self.heads.size.is_multiple_of(THREAD_NUMBERS), "heads of {} numbers", self.heads.size);
        self.assert_has(step, table);
        let gpu = projections.gpu().clone();
        let blocks = (columns / THREAD_NUMBERS).div_ceil(THREADS as usize);
        let grid = Grid::new((rows as u32, blocks as u32, 1), THREADS);
        let kernel = gpu.kernel(("rotate", "rotate_and_store"), grid)?;
        let Heads { heads, kv_heads, size } = self.heads;
        let (heads, kv_heads, size) = (heads as u32, kv_heads as u32, size as u32);
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut projections.numbers).arg(&table.cosines).arg(&table.sines);
        arguments.arg(step.positions()).arg(step.slots());
        arguments.arg(&mut self.keys).arg(&mut self.values).arg(&heads).arg(&kv_heads).arg(&size);
        gpu.run(arguments, grid)
    }

    /// Checks that the cache has the blocks of `step` and `table` its positions, which neither kernels nor graphs of
    /// them check.
    ///
    /// # Panics
    /// If a block or a position is missing.
    pub fn assert_has(&self, step: &Step, table: &RotaryTable) {
        assert!(step.end() <= table.positions && step.last_block() < self.blocks, "positions of a step");
    }

    /// Returns all keys and all values, `[blocks][K][BLOCK_SIZE][D]` each.
    ///
    /// # Errors
    /// `Error::Driver` if this or earlier work on the GPU failed.
    pub fn download(&self, gpu: &Gpu) -> Result<(Vec<f32>, Vec<f32>)> {
        let read = |numbers| -> Result<Vec<f32>> {
            let numbers = gpu.stream().clone_dtoh(numbers)?;
            gpu.wait()?;
            Ok(numbers.into_iter().map(bf16::to_f32).collect())
        };
        Ok((read(&self.keys)?, read(&self.values)?))
    }
}
