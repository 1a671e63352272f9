//! The two normalisations over the last dimension.

use candle_core::{D, Result, Tensor};

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
        candle_nn::ops::rms_norm(&x.contiguous()?, &self.weight, self.epsilon)
    }
}
