//! Activations, alone and as gates.

use cudarc::driver::PushKernelArg;

use crate::{error::Result, gpu::Grid, rows::Rows};

const THREADS: u32 = 256;

/// An elementwise activation, with its number in `cuda/activation.cuh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Activation {
    /// Exact GELU, by the error function.
    Gelu = 0,
    /// GELU by the tanh approximation.
    GeluTanh = 1,
    /// x * sigmoid(x).
    Silu = 2,
    /// The hyperbolic tangent.
    Tanh = 3,
}

impl Activation {
    /// Replaces each number of `x` by its activation.
    ///
    /// # Errors
    /// `Error::NoKernels` or `Error::Driver` if the kernel cannot be loaded or run.
    pub fn run(self, x: &mut Rows) -> Result<()> {
        let (rows, columns) = x.shape();
        let (count, kind) = (rows * columns, self as u32);
        let grid = Grid::new((count.div_ceil(THREADS as usize) as u32, 1, 1), THREADS);
        let gpu = x.gpu().clone();
        let kernel = gpu.kernel(("activation", "activate"), grid)?;
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut x.numbers).arg(&count).arg(&kind);
        gpu.run(arguments, grid)
    }

    /// Writes to `y` `[rows, size]` the activation of the first half of each row of `x` `[rows, 2 * size]`, times the
    /// second half.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for `y`; `Error::NoKernels` or `Error::Driver` if the kernel
    /// cannot be loaded or run.
    ///
    /// # Panics
    /// If `size` is not a multiple of eight.
    pub fn gate(self, x: &Rows, y: &mut Rows) -> Result<()> {
        let (rows, columns) = x.shape();
        let size = columns / 2;
        assert!(columns.is_multiple_of(16), "both halves of a row are multiples of eight numbers");
        y.room((rows, size))?;
        let grid = Grid::new((rows as u32, (size / 8).div_ceil(THREADS as usize) as u32, 1), THREADS);
        let kernel = x.gpu.kernel(("activation", "gate"), grid)?;
        let (size, kind) = (size as u32, self as u32);
        let mut arguments = x.gpu.arguments(&kernel);
        arguments.arg(&mut y.numbers).arg(&x.numbers).arg(&size).arg(&kind);
        x.gpu.run(arguments, grid)
    }
}
