//! Rotary position embedding, half-split rotation.

use candle_core::{DType, Device, Result, Tensor};

/// Cosines and sines of every position. The tables are computed in f32 whatever the model's type: bf16 holds whole
/// numbers only up to 256, and prompts with a picture reach positions of 9000.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    cos: Tensor, // [positions, D / 2]
    sin: Tensor, // [positions, D / 2]
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
        Ok(Self { cos: angles.cos()?.to_dtype(dtype)?, sin: angles.sin()?.to_dtype(dtype)? })
    }

    /// The rows of `positions` `[T]`: cosines and sines, each `[T, D / 2]`.
    pub(crate) fn rows(&self, positions: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.cos.index_select(positions, 0)?, self.sin.index_select(positions, 0)?))
    }

    /// Rotates `x` `[T, heads, D]` by rows from [`rows`](Self::rows).
    pub(crate) fn apply(x: &Tensor, (cos, sin): &(Tensor, Tensor)) -> Result<Tensor> {
        let x = x.unsqueeze(0)?.contiguous()?; // [1, T, heads, D]
        candle_nn::rotary_emb::rope_thd(&x, cos, sin)?.squeeze(0)
    }
}
