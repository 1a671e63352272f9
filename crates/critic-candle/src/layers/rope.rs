//! Rotary position embedding with half-split rotation.

use candle_core::{Device, Result, Tensor};
use kernels::Isa;
use kernels_cuda::RotaryTable;

use crate::{
    device::{ComputeDevice, gpu_result},
    rows::Rows,
};

/// Cosines and sines of every position. Angles are computed in f32 whatever the model's type: bf16 represents all
/// whole numbers only up to 256, and prompts with an image reach positions of 9000.
#[derive(Debug)]
pub(crate) enum Rope {
    /// On the CPU.
    Host {
        cos: Rows, // [positions, D / 2]
        sin: Rows, // [positions, D / 2]
        head_size: usize,
    },
    /// On a GPU.
    Gpu(RotaryTable),
}

/// The rotation of each row of a step.
#[derive(Debug)]
pub(crate) struct Rotation {
    pub(super) cos: Rows, // [T, D / 2]
    pub(super) sin: Rows, // [T, D / 2]
    pub(super) head_size: usize,
}

impl Rope {
    /// Tables for heads of size `head_size` at positions below `positions`.
    pub(crate) fn new(
        (head_size, positions): (usize, usize),
        theta: f64,
        device: &ComputeDevice,
    ) -> Result<Self> {
        let half = head_size / 2;
        let frequency = |index: usize| 1.0 / (theta as f32).powf((2 * index) as f32 / head_size as f32);
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let angles: Vec<f32> = (0..positions)
            .flat_map(|position| frequencies.iter().map(move |f| position as f32 * f))
            .collect();
        let angles = Tensor::from_vec(angles, (positions, half), &Device::Cpu)?;
        let (cos, sin) = (angles.cos()?, angles.sin()?);
        match device {
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) => {
                Ok(Self::Host { cos: device.rows(&cos)?, sin: device.rows(&sin)?, head_size })
            }
            ComputeDevice::Gpu(gpu) => {
                let floats = |table: &Tensor| table.flatten_all()?.to_vec1::<f32>();
                let table = RotaryTable::new(gpu, (&floats(&cos)?, &floats(&sin)?), head_size);
                Ok(Self::Gpu(gpu_result(table)?))
            }
        }
    }
}

impl Rotation {
    /// The rotations at `positions`, from the tables `cos` and `sin`.
    pub(crate) fn at(positions: &[u32], (cos, sin): (&Rows, &Rows), head_size: usize) -> Result<Self> {
        Ok(Self { cos: cos.pick(positions)?, sin: sin.pick(positions)?, head_size })
    }

    /// Rotates the first `heads` heads of each row of `x` `[T, at least heads * D]`.
    pub(crate) fn apply(&self, x: &mut Rows, heads: usize) -> Result<()> {
        let (rows, columns) = x.shape()?;
        match x {
            Rows::Floats { floats, .. } => {
                let (cos, sin) = (self.cos.floats()?, self.sin.floats()?);
                let rotation = kernels::Rotation { cos, sin, head_size: self.head_size };
                rotation.run(Isa::best(), floats, (columns, heads));
            }
            Rows::Tensor(tensor) => {
                let wide = heads * self.head_size;
                let turned =
                    tensor.narrow(1, 0, wide)?.contiguous()?.reshape((1, rows, heads, self.head_size))?;
                let turned =
                    candle_nn::rotary_emb::rope_thd(&turned, self.cos.tensor()?, self.sin.tensor()?)?;
                let rest = tensor.narrow(1, wide, columns - wide)?;
                *tensor = Tensor::cat(&[&turned.reshape((rows, wide))?, &rest], 1)?;
            }
            Rows::Gpu(_) => candle_core::bail!("on a GPU rows turn on their way into the cache"),
        }
        Ok(())
    }
}
