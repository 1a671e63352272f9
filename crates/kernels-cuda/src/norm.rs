//! The two normalisations over a row.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, PushKernelArg};

use crate::{
    error::Result,
    gpu::{Gpu, Grid},
    rows::Rows,
};

/// Threads of a block, as `cuda/norm.cu` has it.
const THREADS: u32 = 256;

/// What a row is scaled by after it was normalised. With a bias the mean is taken away before.
#[derive(Debug)]
pub struct Norm {
    weight: CudaSlice<f32>,       // [columns]
    bias: Option<CudaSlice<f32>>, // [columns]
    epsilon: f32,
}

impl Norm {
    /// x / sqrt(mean of squares + epsilon) * weight, or with a bias
    /// (x - mean) / sqrt(variance + epsilon) * weight + bias.
    ///
    /// # Errors
    /// When the GPU has no room.
    pub fn new(gpu: &Arc<Gpu>, weight: &[f32], bias: Option<&[f32]>, epsilon: f32) -> Result<Self> {
        assert!(bias.is_none_or(|bias| bias.len() == weight.len()), "a bias for each weight");
        assert_eq!(weight.len() % 8, 0, "columns");
        Ok(Self {
            weight: gpu.upload(weight)?,
            bias: bias.map(|bias| gpu.upload(bias)).transpose()?,
            epsilon,
        })
    }

    /// `x` `[rows, columns]` to `y` of the same shape.
    ///
    /// # Errors
    /// What the driver says.
    pub fn run(&self, x: &Rows, y: &mut Rows) -> Result<()> {
        let (rows, columns) = x.shape();
        assert_eq!(columns, self.weight.len(), "columns of a norm");
        y.room((rows, columns))?;
        let grid = Grid::new((rows as u32, 1, 1), THREADS);
        let name = if self.bias.is_some() { "layer_norm" } else { "rms_norm" };
        let kernel = x.gpu.kernel(("norm", name), grid)?;
        let columns = columns as u32;
        let mut arguments = x.gpu.arguments(&kernel);
        arguments.arg(&mut y.numbers).arg(&x.numbers).arg(&self.weight);
        if let Some(bias) = &self.bias {
            arguments.arg(bias);
        }
        arguments.arg(&columns).arg(&self.epsilon);
        x.gpu.run(arguments, grid)
    }
}
