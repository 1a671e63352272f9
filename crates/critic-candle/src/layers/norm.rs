//! The two normalisations over the last dimension.

use candle_core::{D, Result, Tensor};
use kernels::{Isa, Norm};

use super::{Rows, with_floats};
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

    /// `x` `[rows, size]` to `y` of the same shape. The mean goes first: mean of squares less square of mean loses digits
    /// in f32.
    pub(crate) fn forward(&self, x: &Rows, y: &mut Rows) -> Result<()> {
        let shape = x.shape()?;
        match x {
            Rows::Floats { floats, .. } => with_floats(&self.weight, |weight| {
                with_floats(&self.bias, |bias| {
                    let norm = Norm { weight, bias: Some(bias), epsilon: self.epsilon as f32 };
                    norm.run(Isa::best(), floats, y.room(shape));
                })
            })?,
            Rows::Tensor(x) => {
                let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
                let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
                let scaled = centred.broadcast_div(&(variance + self.epsilon)?.sqrt()?)?;
                *y = Rows::Tensor(scaled.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)?);
                Ok(())
            }
        }
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

    /// `x` `[rows, size]` to `y` of the same shape.
    pub(crate) fn forward(&self, x: &Rows, y: &mut Rows) -> Result<()> {
        let shape = x.shape()?;
        match x {
            Rows::Floats { floats, .. } => with_floats(&self.weight, |weight| {
                Norm { weight, bias: None, epsilon: self.epsilon }.run(Isa::best(), floats, y.room(shape));
            }),
            Rows::Tensor(x) => {
                *y = Rows::Tensor(candle_nn::ops::rms_norm(&x.contiguous()?, &self.weight, self.epsilon)?);
                Ok(())
            }
        }
    }
}
