//! Rotary position embedding, half-split rotation.

use candle_core::{DType, Device, Result, Tensor};
use kernels::Isa;

use super::Rows;

/// Cosines and sines of every position. The tables are computed in f32 whatever the model's type: bf16 holds whole
/// numbers only up to 256, and prompts with a picture reach positions of 9000.
#[derive(Debug)]
pub(crate) struct Rope {
    pub(super) cos: Rows, // [positions, D / 2]
    pub(super) sin: Rows, // [positions, D / 2]
    head_size: usize,
}

/// By how much each row of a step turns.
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
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        let half = head_size / 2;
        let frequency = |index: usize| 1.0 / (theta as f32).powf((2 * index) as f32 / head_size as f32);
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let angles: Vec<f32> = (0..positions)
            .flat_map(|position| frequencies.iter().map(move |f| position as f32 * f))
            .collect();
        let angles = Tensor::from_vec(angles, (positions, half), device)?;
        let table = |values: Tensor| Rows::from_tensor(values.to_dtype(dtype)?);
        Ok(Self { cos: table(angles.cos()?)?, sin: table(angles.sin()?)?, head_size })
    }

    /// The rotations at `positions`.
    pub(crate) fn at(&self, positions: &[u32]) -> Result<Rotation> {
        Ok(Rotation {
            cos: self.cos.pick(positions)?,
            sin: self.sin.pick(positions)?,
            head_size: self.head_size,
        })
    }
}

impl Rotation {
    /// Turns the first `heads` heads of each row of `x` `[T, at least heads * D]`.
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
        }
        Ok(())
    }
}
