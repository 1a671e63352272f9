//! Rows of bf16 numbers on a GPU, in memory that stays from one use to the next.

use std::{ops::Range, sync::Arc};

use cudarc::driver::{CudaSlice, DeviceRepr, PushKernelArg};
use half::bf16;

use crate::{
    error::Result,
    gpu::{Gpu, Grid},
};

/// Threads for a row that is only moved.
const THREADS: u32 = 128;

/// Rows of numbers, one for each token or patch.
#[derive(Debug)]
pub struct Rows {
    pub(crate) gpu: Arc<Gpu>,
    pub(crate) numbers: CudaSlice<bf16>, // [rows, columns], and perhaps more
    rows: usize,
    columns: usize,
}

/// A row that is mixed of up to four others: their indices, and weights that are 0 where there are fewer.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Mixture {
    /// Which rows.
    pub rows: [u32; 4],
    /// How much of each.
    pub weights: [f32; 4],
}

// SAFETY: the kernel has the same struct; both are eight numbers of four bytes.
#[expect(unsafe_code, reason = "a struct that a kernel has, too")]
unsafe impl DeviceRepr for Mixture {}

impl Rows {
    /// None yet.
    ///
    /// # Errors
    /// When the GPU has no room at all.
    pub fn empty(gpu: &Arc<Gpu>) -> Result<Self> {
        Ok(Self { gpu: Arc::clone(gpu), numbers: gpu.memory_for(1)?, rows: 0, columns: 0 })
    }

    /// A copy of `numbers` `[rows, columns]` on the GPU.
    ///
    /// # Errors
    /// When the GPU has no room for them.
    ///
    /// # Panics
    /// When they are no whole rows.
    pub fn upload(gpu: &Arc<Gpu>, numbers: &[bf16], columns: usize) -> Result<Self> {
        assert_eq!(numbers.len() % columns, 0, "numbers are no whole rows");
        let rows = numbers.len() / columns;
        Ok(Self { gpu: Arc::clone(gpu), numbers: gpu.upload(numbers)?, rows, columns })
    }

    /// All numbers `[rows, columns]`.
    ///
    /// # Errors
    /// What went wrong on the GPU before.
    pub fn download(&self) -> Result<Vec<f32>> {
        let count = self.rows * self.columns;
        let mut numbers = vec![bf16::ZERO; count];
        if count > 0 {
            self.gpu.stream().memcpy_dtoh(&self.numbers.slice(..count), &mut numbers)?;
            self.gpu.wait()?;
        }
        Ok(numbers.into_iter().map(bf16::to_f32).collect())
    }

    /// The GPU they are on.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// How many rows and columns there are.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.numbers.num_bytes()
    }

    /// Makes room for `rows` of `columns` numbers, all of which are to be written: there may be others in it.
    ///
    /// # Errors
    /// When the GPU has no room for them.
    pub fn room(&mut self, (rows, columns): (usize, usize)) -> Result<&mut Self> {
        if self.numbers.len() < rows * columns {
            self.numbers = self.gpu.memory_for(rows * columns)?;
        }
        (self.rows, self.columns) = (rows, columns);
        Ok(self)
    }

    /// Puts the rows `range` of `other` at row `first`.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Panics
    /// When they do not fit.
    pub fn copy(&mut self, first: usize, other: &Self, range: Range<usize>) -> Result<()> {
        assert_eq!(self.columns, other.columns, "rows of different lengths");
        let columns = self.columns;
        assert!(range.end <= other.rows && first + range.len() <= self.rows, "rows that are not there");
        if !range.is_empty() {
            let from = other.numbers.slice(range.start * columns..range.end * columns);
            let mut to = self.numbers.slice_mut(first * columns..(first + range.len()) * columns);
            self.gpu.stream().memcpy_dtod(&from, &mut to)?;
        }
        Ok(())
    }

    /// Adds the rows of `table` to the first rows, to the next ones, and so on.
    ///
    /// # Errors
    /// What the driver says.
    pub fn add_repeated(&mut self, table: &Self) -> Result<()> {
        assert_eq!(self.columns, table.columns, "rows of different lengths");
        assert_eq!(self.columns % 8, 0, "columns");
        let gpu = Arc::clone(&self.gpu);
        let grid = Grid::new((self.rows as u32, 1, 1), THREADS);
        let kernel = gpu.kernel(("rows", "add_rows"), grid)?;
        let (repeat, columns) = (table.rows as u32, self.columns as u32);
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut self.numbers).arg(&table.numbers).arg(&repeat).arg(&columns);
        gpu.run(arguments, grid)
    }

    /// Becomes the rows `indices` of `table`, in this order.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Panics
    /// When an index is not in the table.
    pub fn gather(&mut self, table: &Self, indices: &[u32]) -> Result<()> {
        assert!(indices.iter().all(|index| (*index as usize) < table.rows), "a row that is not there");
        assert_eq!(table.columns % 8, 0, "columns");
        let gpu = Arc::clone(&self.gpu);
        self.room((indices.len(), table.columns))?;
        let indices = gpu.upload(indices)?;
        let grid = Grid::new((self.rows as u32, 1, 1), THREADS);
        let kernel = gpu.kernel(("rows", "gather_rows"), grid)?;
        let columns = self.columns as u32;
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut self.numbers).arg(&table.numbers).arg(&indices).arg(&columns);
        gpu.run(arguments, grid)
    }

    /// Becomes mixtures of the rows of `other`.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Panics
    /// When a mixture has a row that is not there.
    pub fn mix(&mut self, other: &Self, mixtures: &[Mixture]) -> Result<()> {
        let known = |mixture: &Mixture| mixture.rows.iter().all(|row| (*row as usize) < other.rows);
        assert!(mixtures.iter().all(known), "a row that is not there");
        let gpu = Arc::clone(&self.gpu);
        self.room((mixtures.len(), other.columns))?;
        let mixtures = gpu.upload(mixtures)?;
        let grid = Grid::new((self.rows as u32, 1, 1), THREADS);
        let kernel = gpu.kernel(("rows", "mix_rows"), grid)?;
        let columns = self.columns as u32;
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut self.numbers).arg(&other.numbers).arg(&mixtures).arg(&columns);
        gpu.run(arguments, grid)
    }
}
