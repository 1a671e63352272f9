//! Layer and RMS normalisation of rows.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, PushKernelArg};

use crate::{
    error::Result,
    gpu::{Gpu, Grid},
    quantised::RoundedRows,
    rows::Rows,
};

/// The largest number of threads in a block, and the numbers that each processes at a time, as in `cuda/norm.cu`.
const MOST_THREADS: usize = 512;
const THREAD_NUMBERS: usize = 8;

/// Threads of a warp: blocks consist of whole warps.
const WARP: usize = 32;

/// The parameters of a normalisation. With a bias, the mean is subtracted first.
#[derive(Debug)]
pub struct Norm {
    weight: CudaSlice<f32>,       // [columns]
    bias: Option<CudaSlice<f32>>, // [columns]
    epsilon: f32,
}

impl Norm {
    /// Uploads the parameters of `x / sqrt(mean of squares + epsilon) * weight`, or with a bias of `(x - mean) /
    /// sqrt(variance + epsilon) * weight + bias`.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if they cannot be stored on the GPU.
    ///
    /// # Panics
    /// If `weight` and `bias` differ in length, or their length is not a multiple of eight.
    pub fn new(gpu: &Arc<Gpu>, weight: &[f32], bias: Option<&[f32]>, epsilon: f32) -> Result<Self> {
        assert!(bias.is_none_or(|bias| bias.len() == weight.len()), "a bias for each weight");
        assert_eq!(weight.len() % THREAD_NUMBERS, 0, "columns");
        Ok(Self {
            weight: gpu.upload(weight)?,
            bias: bias.map(|bias| gpu.upload(bias)).transpose()?,
            epsilon,
        })
    }

    /// Normalises the rows of `x` `[rows, columns]` to `y` of the same shape.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for `y`; `Error::NoKernels` or `Error::Driver` if the kernel
    /// cannot be loaded or run.
    ///
    /// # Panics
    /// If the number of columns of `x` is not that of the weights.
    pub fn run(&self, x: &Rows, y: &mut Rows) -> Result<()> {
        let (grid, columns) = (self.grid(x), x.shape().1 as u32);
        y.room(x.shape())?;
        let name = if self.bias.is_some() { "layer_norm" } else { "rms_norm" };
        let kernel = x.gpu.kernel(("norm", name), grid)?;
        let mut arguments = x.gpu.arguments(&kernel);
        arguments.arg(&mut y.numbers).arg(&x.numbers).arg(&self.weight);
        if let Some(bias) = &self.bias {
            arguments.arg(bias);
        }
        arguments.arg(&columns).arg(&self.epsilon);
        x.gpu.run(arguments, grid)
    }

    /// Normalises the rows of `x` `[rows, columns]` and rounds the results, with the bits that
    /// [`RoundedRows::round`] makes of the result of [`run`](Self::run).
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for `y`; `Error::NoKernels` or `Error::Driver` if the kernel
    /// cannot be loaded or run.
    ///
    /// # Panics
    /// If the number of columns of `x` is not that of the weights or not a multiple of 32, there are more than
    /// [`FEW_ROWS`](crate::FEW_ROWS) rows, or the norm has a bias.
    pub fn run_rounded(&self, x: &Rows, y: &mut RoundedRows) -> Result<()> {
        assert!(self.bias.is_none(), "only RMS norms round their results");
        let (grid, columns) = (self.grid(x), x.shape().1 as u32);
        y.room(x, 0..x.shape().0)?;
        let kernel = x.gpu.kernel(("norm", "rms_norm_rounded"), grid)?;
        let mut arguments = x.gpu.arguments(&kernel);
        arguments.arg(&mut y.codes).arg(&mut y.scales).arg(&x.numbers).arg(&self.weight);
        arguments.arg(&columns).arg(&self.epsilon);
        x.gpu.run(arguments, grid)
    }

    /// Returns the grid for the rows of `x`.
    fn grid(&self, x: &Rows) -> Grid {
        let (rows, columns) = x.shape();
        assert_eq!(columns, self.weight.len(), "columns of a norm");
        // Depends on the columns alone, since it determines the order of a row's sums.
        let threads = (columns / THREAD_NUMBERS).next_multiple_of(WARP).min(MOST_THREADS);
        Grid::new((rows as u32, 1, 1), threads as u32)
    }
}
