//! A matrix product with an optional bias.

use candle_core::{Result, Tensor};

use crate::{error::LoadError, weights::Weights};

/// x W^T + b.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: Tensor,       // [out, in]
    bias: Option<Tensor>, // [out]
}

impl Linear {
    /// Reads `{prefix}weight`, and `{prefix}bias` when `has_bias`.
    pub(crate) fn load(
        weights: &Weights,
        prefix: &str,
        (input, output): (usize, usize),
        has_bias: bool,
    ) -> std::result::Result<Self, LoadError> {
        let weight = weights.get(&format!("{prefix}weight"), &[output, input])?;
        let bias = if has_bias { Some(weights.get(&format!("{prefix}bias"), &[output])?) } else { None };
        Ok(Self { weight, bias })
    }

    /// Takes a weight `[out, in]` and a bias `[out]` that are loaded already.
    pub(crate) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// `x`: `[rows, in]` to `[rows, out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}
