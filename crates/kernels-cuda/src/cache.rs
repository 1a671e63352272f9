//! Keys and values of one layer in blocks, and how they come there: with rotary positions.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, PushKernelArg};
use half::bf16;

use crate::{
    error::Result,
    gpu::{Gpu, Grid},
    rows::Rows,
    step::Step,
};

/// Positions in a block.
pub const BLOCK_SIZE: usize = 32;

const THREADS: u32 = 256;

/// The heads of a decoder's attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Of queries.
    pub heads: usize,
    /// Of keys and values; a divisor of `heads`.
    pub kv_heads: usize,
    /// Numbers of each.
    pub size: usize,
}

impl Heads {
    /// Heads of queries that share one of keys.
    pub(crate) fn group(self) -> usize {
        self.heads / self.kv_heads
    }

    /// Numbers of a row of queries, keys and values.
    pub(crate) fn row(self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.size
    }
}

/// Keys and values of one layer.
#[derive(Debug)]
pub struct PagedCache {
    pub(crate) heads: Heads,
    pub(crate) blocks: usize,
    pub(crate) keys: CudaSlice<bf16>,   // [blocks][K][BLOCK_SIZE][D]
    pub(crate) values: CudaSlice<bf16>, // the same
}

/// Cosines and sines of every position.
#[derive(Debug)]
pub struct RotaryTable {
    cosines: CudaSlice<f32>, // [positions, D / 2]
    sines: CudaSlice<f32>,   // the same
    positions: usize,
    head_size: usize,
}

impl RotaryTable {
    /// Of `cosines` and `sines` `[positions, head_size / 2]`.
    ///
    /// # Errors
    /// When the GPU has no room.
    pub fn new(gpu: &Arc<Gpu>, (cosines, sines): (&[f32], &[f32]), head_size: usize) -> Result<Self> {
        assert_eq!(cosines.len(), sines.len(), "a sine for each cosine");
        let positions = cosines.len() / (head_size / 2);
        Ok(Self { cosines: gpu.upload(cosines)?, sines: gpu.upload(sines)?, positions, head_size })
    }
}

impl PagedCache {
    /// An empty cache of `blocks` blocks.
    ///
    /// # Errors
    /// When the GPU has no room for it.
    pub fn new(gpu: &Arc<Gpu>, heads: Heads, blocks: usize) -> Result<Self> {
        let count = blocks * heads.kv_heads * BLOCK_SIZE * heads.size;
        // Zeros, since a place that nobody wrote may be multiplied by a weight of nought, and would make it no number.
        Ok(Self { heads, blocks, keys: gpu.zeros(count)?, values: gpu.zeros(count)? })
    }

    /// Turns the queries and keys of `projections` `[T, (H + 2 K) * D]`, in which a row is queries, keys and values, by
    /// their positions. Queries stay where they are; keys and values go to their places in the cache.
    ///
    /// # Errors
    /// What the driver says.
    pub fn rotate_and_store(
        &mut self,
        projections: &mut Rows,
        table: &RotaryTable,
        step: &Step,
    ) -> Result<()> {
        let (rows, columns) = projections.shape();
        assert_eq!((rows, columns), (step.tokens(), self.heads.row()), "rows of a step");
        assert_eq!(table.head_size, self.heads.size, "size of a head");
        assert!(step.end() <= table.positions && step.last_block() < self.blocks, "positions of a step");
        let gpu = projections.gpu().clone();
        let grid = Grid::new((rows as u32, 1, 1), THREADS);
        let kernel = gpu.kernel(("rotate", "rotate_and_store"), grid)?;
        let Heads { heads, kv_heads, size } = self.heads;
        let (heads, kv_heads, size) = (heads as u32, kv_heads as u32, size as u32);
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut projections.numbers).arg(&table.cosines).arg(&table.sines);
        arguments.arg(step.positions()).arg(step.slots());
        arguments.arg(&mut self.keys).arg(&mut self.values).arg(&heads).arg(&kv_heads).arg(&size);
        gpu.run(arguments, grid)
    }

    /// All keys and values, `[blocks][K][BLOCK_SIZE][D]` each.
    ///
    /// # Errors
    /// What went wrong on the GPU before.
    pub fn download(&self, gpu: &Gpu) -> Result<(Vec<f32>, Vec<f32>)> {
        let read = |numbers| -> Result<Vec<f32>> {
            let numbers = gpu.stream().clone_dtoh(numbers)?;
            gpu.wait()?;
            Ok(numbers.into_iter().map(bf16::to_f32).collect())
        };
        Ok((read(&self.keys)?, read(&self.values)?))
    }
}
