//! Rows of bf16 numbers on a GPU, in memory that is reused.

use std::{ops::Range, sync::Arc};

use cudarc::driver::{CudaSlice, DeviceRepr, PushKernelArg};
use half::bf16;

use crate::{
    error::Result,
    gpu::{Gpu, Grid},
};

/// Threads for each row in the kernels that move, add or mix rows.
const THREADS: u32 = 128;

/// Rows of numbers, one for each token or patch.
#[derive(Debug)]
pub struct Rows {
    pub(crate) gpu: Arc<Gpu>,
    pub(crate) numbers: CudaSlice<bf16>, // [rows, columns], or longer
    rows: usize,
    columns: usize,
}

/// A row mixed from up to four others; the weights of unused ones are 0.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Mixture {
    /// The indices of the rows, all of which must exist.
    pub rows: [u32; 4],
    /// The weight of each row.
    pub weights: [f32; 4],
}

// SAFETY: the kernel has the same struct; both are eight numbers of four bytes.
#[expect(unsafe_code, reason = "a struct that a kernel has, too")]
unsafe impl DeviceRepr for Mixture {}

impl Rows {
    /// Creates empty rows.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if the GPU has no memory left.
    pub fn empty(gpu: &Arc<Gpu>) -> Result<Self> {
        Ok(Self { gpu: Arc::clone(gpu), numbers: gpu.memory_for(1)?, rows: 0, columns: 0 })
    }

    /// Copies `numbers` `[rows, columns]` to the GPU.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if they cannot be stored on the GPU.
    ///
    /// # Panics
    /// If `columns` is 0 or the rows are not whole.
    pub fn upload(gpu: &Arc<Gpu>, numbers: &[bf16], columns: usize) -> Result<Self> {
        assert_eq!(numbers.len() % columns, 0, "numbers are no whole rows");
        let rows = numbers.len() / columns;
        Ok(Self { gpu: Arc::clone(gpu), numbers: gpu.upload(numbers)?, rows, columns })
    }

    /// Returns all numbers `[rows, columns]`.
    ///
    /// # Errors
    /// `Error::Driver` if this or earlier work on the GPU failed.
    pub fn download(&self) -> Result<Vec<f32>> {
        let count = self.rows * self.columns;
        let mut numbers = vec![bf16::ZERO; count];
        if count > 0 {
            self.gpu.stream().memcpy_dtoh(&self.numbers.slice(..count), &mut numbers)?;
            self.gpu.wait()?;
        }
        Ok(numbers.into_iter().map(bf16::to_f32).collect())
    }

    /// Returns the GPU that holds the rows.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Returns the numbers of rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Returns the size of their memory in bytes.
    pub fn bytes(&self) -> usize {
        self.numbers.num_bytes()
    }

    /// Makes room for `rows` rows of `columns` numbers, all of which must then be written: the memory may hold
    /// others.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if it cannot be allocated on the GPU.
    pub fn room(&mut self, (rows, columns): (usize, usize)) -> Result<&mut Self> {
        if self.numbers.len() < rows * columns {
            self.numbers = self.gpu.memory_for(rows * columns)?;
        }
        (self.rows, self.columns) = (rows, columns);
        Ok(self)
    }

    /// Copies the rows `range` of `other` to the rows from `first` on.
    ///
    /// # Errors
    /// `Error::Driver` if the copy cannot be started.
    ///
    /// # Panics
    /// If the columns differ, or either range of rows is out of bounds.
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

    /// Adds `table` to each run of as many rows as it has.
    ///
    /// # Errors
    /// `Error::NoKernels` or `Error::Driver` if the kernel cannot be loaded or run.
    ///
    /// # Panics
    /// If the columns differ or are not a multiple of 8, or if the rows are not a multiple of those of `table`.
    pub fn add_repeated(&mut self, table: &Self) -> Result<()> {
        assert_eq!(self.columns, table.columns, "rows of different lengths");
        assert_eq!(self.columns % 8, 0, "columns");
        assert!(
            table.rows > 0 && self.rows.is_multiple_of(table.rows),
            "{} rows of {}",
            self.rows,
            table.rows
        );
        let gpu = Arc::clone(&self.gpu);
        let grid = Grid::new((self.rows as u32, 1, 1), THREADS);
        let kernel = gpu.kernel(("rows", "add_rows"), grid)?;
        let (repeat, columns) = (table.rows as u32, self.columns as u32);
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut self.numbers).arg(&table.numbers).arg(&repeat).arg(&columns);
        gpu.run(arguments, grid)
    }

    /// Replaces the contents by the rows `indices` of `table`, in this order.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for them; `Error::NoKernels` or `Error::Driver` if the kernel
    /// cannot be loaded or run.
    ///
    /// # Panics
    /// If an index is beyond the table, or its columns are not a multiple of 8.
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

    /// Replaces the contents by mixtures of the rows of `other`.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for them; `Error::NoKernels` or `Error::Driver` if the kernel
    /// cannot be loaded or run.
    ///
    /// # Panics
    /// If a mixture names a row that `other` does not have.
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
