//! The two normalisations over the last dimension.

use candle_core::{D, Result, Tensor};
use kernels::{Isa, Norm};

use super::floats::{has_kernels, with_floats};
use crate::{error::LoadError, weights::Weights};

/// (x - mean) / sqrt(variance + epsilon) * weight + bias.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    pub(super) weight: Tensor, // [size]
    pub(super) bias: Tensor,   // [size]
    pub(super) epsilon: f64,
}

impl LayerNorm {
    pub(crate) fn load(
        weights: &Weights,
        prefix: &str,
        size: usize,
        epsilon: f64,
    ) -> std::result::Result<Self, LoadError> {
        let weight = weights.get(&format!("{prefix}weight"), &[size])?;
        let bias = weights.get(&format!("{prefix}bias"), &[size])?;
        Ok(Self { weight, bias, epsilon })
    }

    /// `[.., size]` to the same shape. The mean goes first: mean of squares less square of mean loses digits in f32.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if has_kernels(x.device(), x.dtype()) {
            return with_floats(&self.bias, |bias| run(x, (&self.weight, Some(bias)), self.epsilon as f32))?;
        }
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let scaled = centred.broadcast_div(&(variance + self.epsilon)?.sqrt()?)?;
        scaled.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

/// x / sqrt(mean of squares + epsilon) * weight.
#[derive(Debug, Clone)]
pub(crate) struct RmsNorm {
    pub(super) weight: Tensor, // [size]
    pub(super) epsilon: f32,
}

impl RmsNorm {
    pub(crate) fn load(
        weights: &Weights,
        name: &str,
        size: usize,
        epsilon: f64,
    ) -> std::result::Result<Self, LoadError> {
        Ok(Self { weight: weights.get(name, &[size])?, epsilon: epsilon as f32 })
    }

    /// `[.., size]` to the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if has_kernels(x.device(), x.dtype()) {
            return run(x, (&self.weight, None), self.epsilon);
        }
        candle_nn::ops::rms_norm(&x.contiguous()?, &self.weight, self.epsilon)
    }
}

/// Normalises by the kernel.
fn run(x: &Tensor, (weight, bias): (&Tensor, Option<&[f32]>), epsilon: f32) -> Result<Tensor> {
    let mut y = vec![0.0; x.elem_count()];
    with_floats(weight, |weight| {
        with_floats(x, |x| Norm { weight, bias, epsilon }.run(Isa::best(), x, &mut y))
    })??;
    Tensor::from_vec(y, x.shape(), x.device())
}
