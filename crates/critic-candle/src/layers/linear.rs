//! A matrix product with an optional bias.

use candle_core::{Result, Tensor};
use critic::TokenId;

use super::floats::{has_kernels, with_floats};
use crate::{error::LoadError, weights::Weights};

/// x W^T + b.
#[derive(Debug)]
pub(crate) enum Linear {
    /// On the CPU in f32: the only copy of the weight is the packed one.
    Packed(kernels::Linear),
    /// Anywhere else.
    Tensors {
        weight: Tensor,       // [out, in]
        bias: Option<Tensor>, // [out]
    },
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
        Ok(Self::new(weight, bias)?)
    }

    /// Takes a weight `[out, in]` and a bias `[out]` that are loaded already.
    pub(crate) fn new(weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        if !has_kernels(weight.device(), weight.dtype()) {
            return Ok(Self::Tensors { weight, bias });
        }
        let shape = weight.dims2()?;
        let bias: Option<Vec<f32>> = bias.map(|bias| bias.to_vec1()).transpose()?;
        let pack = |weight: &[f32]| kernels::Linear::new(weight, shape, bias.as_deref());
        Ok(Self::Packed(with_floats(&weight, pack)?))
    }

    /// `x`: `[rows, in]` to `[rows, out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Packed(linear) => {
                let rows = x.dim(0)?;
                let mut y = vec![0.0; rows * linear.output()];
                with_floats(x, |x| linear.forward(x, &mut y))?;
                Tensor::from_vec(y, (rows, linear.output()), x.device())
            }
            Self::Tensors { weight, bias } => {
                let y = x.matmul(&weight.t()?)?;
                match bias {
                    Some(bias) => y.broadcast_add(bias),
                    None => Ok(y),
                }
            }
        }
    }

    /// The rows of the weight, `[tokens, in]`, that are the embedding of `tokens` where the two are one.
    pub(crate) fn embed(&self, tokens: &[TokenId]) -> Result<Tensor> {
        match self {
            Self::Packed(linear) => {
                let rows = tokens.iter().flat_map(|token| linear.weight_row(token.0 as usize));
                Tensor::from_vec(rows.collect(), (tokens.len(), linear.input()), &candle_core::Device::Cpu)
            }
            Self::Tensors { weight, .. } => look_up(weight, tokens),
        }
    }
}

/// The rows `[tokens, C]` of a table `[V, C]`.
pub(crate) fn look_up(table: &Tensor, tokens: &[TokenId]) -> Result<Tensor> {
    let ids: Vec<u32> = tokens.iter().map(|token| token.0).collect();
    table.index_select(&Tensor::new(ids, table.device())?, 0)
}
