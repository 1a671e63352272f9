//! Random weights that are drawn on the GPU, with the bits that the CPU draws.

use std::{ops::Range, sync::Arc};

use cudarc::driver::{CudaSlice, PushKernelArg};
use half::bf16;

use crate::{
    error::Result,
    gpu::{Gpu, Grid},
    rows::Rows,
};

const THREADS: u32 = 256;

/// Numbers that a thread draws, and writes at once if all of them fit, for which they must be aligned.
const AT_ONCE: usize = 8;

/// The numbers of one tensor: they depend on its key and their index alone and are nearly normal.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// The key of the tensor, which differs from those of other tensors.
    pub key: u64,
    /// The mean of the numbers.
    pub centre: f32,
    /// The standard deviation of the numbers.
    pub spread: f32,
}

impl Draw {
    /// Fills the rows `range` with the numbers from index `first` on.
    ///
    /// # Errors
    /// `Error::NoKernels` or `Error::Driver` if the kernel cannot be loaded or run.
    ///
    /// # Panics
    /// If `range` is out of bounds or does not begin at a multiple of eight numbers.
    pub fn fill(self, rows: &mut Rows, range: Range<usize>, first: u64) -> Result<()> {
        let (count, columns) = rows.shape();
        assert!(range.start <= range.end && range.end <= count, "rows {range:?} of {count}");
        let numbers = range.start * columns..range.end * columns;
        assert!(numbers.start.is_multiple_of(AT_ONCE), "rows that are not aligned");
        if numbers.is_empty() {
            return Ok(());
        }
        let gpu = Arc::clone(&rows.gpu);
        let blocks = numbers.len().div_ceil(AT_ONCE * THREADS as usize) as u32;
        let grid = Grid::new((blocks, 1, 1), THREADS);
        let kernel = gpu.kernel(("draw", "draw_bf16"), grid)?;
        let count = numbers.len() as u64;
        let mut place = rows.numbers.slice_mut(numbers);
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut place).arg(&count).arg(&first).arg(&self.key).arg(&self.centre).arg(&self.spread);
        gpu.run(arguments, grid)
    }

    /// Fills memory with the bits of random numbers.
    pub(crate) fn fill_bits(self, gpu: &Arc<Gpu>, memory: &mut CudaSlice<u8>) -> Result<()> {
        let (count, first) = ((memory.len() / size_of::<bf16>()) as u64, 0_u64);
        let blocks = (count as usize).div_ceil(AT_ONCE * THREADS as usize) as u32;
        let grid = Grid::new((blocks, 1, 1), THREADS);
        let kernel = gpu.kernel(("draw", "draw_bf16"), grid)?;
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(memory).arg(&count).arg(&first).arg(&self.key).arg(&self.centre).arg(&self.spread);
        gpu.run(arguments, grid)
    }
}
