//! A matrix product with an optional bias.

use candle_core::{DType, Result, Tensor};
use critic::TokenId;
use kernels::{Form, Matrix};

use super::floats::{has_kernels, with_floats};
use crate::{
    error::LoadError,
    weights::{WeightForm, Weights},
};

/// x W^T + b.
#[derive(Debug)]
pub(crate) enum Linear {
    /// On the CPU with arithmetic in f32: the only copy of the weight is the packed one, in any form.
    Packed(kernels::Linear),
    /// Anywhere else.
    Tensors {
        weight: Tensor,       // [out, in]
        bias: Option<Tensor>, // [out]
    },
}

impl Linear {
    /// Reads `{prefix}weight`, to be kept in `form`, and `{prefix}bias` when `has_bias`.
    pub(crate) fn load(
        (weights, form): (&Weights, WeightForm),
        prefix: &str,
        (input, output): (usize, usize),
        has_bias: bool,
    ) -> std::result::Result<Self, LoadError> {
        let bias = if has_bias { Some(weights.get(&format!("{prefix}bias"), &[output])?) } else { None };
        Self::read((weights, form), &format!("{prefix}weight"), &[output, input], bias)
    }

    /// Reads the weight `name`, whose first dimension is the output and whose others together are the input.
    pub(crate) fn read(
        (weights, form): (&Weights, WeightForm),
        name: &str,
        shape: &[usize],
        bias: Option<Tensor>, // [out]
    ) -> std::result::Result<Self, LoadError> {
        if !has_kernels(weights.device(), weights.dtype()) {
            return Ok(Self::Tensors { weight: weights.get(name, shape)?.flatten_from(1)?, bias });
        }
        let bias: Option<Vec<f32>> = bias.map(|bias| bias.to_vec1()).transpose()?;
        let shape_2d = (shape[0], shape[1..].iter().product());
        let pack =
            |weight: Matrix<'_>, form| kernels::Linear::with_form(weight, form, shape_2d, bias.as_deref());
        let packed_form = match form {
            WeightForm::Stored => Form::Given,
            WeightForm::Q8 => Form::Q8,
            WeightForm::Q4 => Form::Q4,
            WeightForm::F32 => {
                let weight = weights.get(name, shape)?;
                return Ok(Self::Packed(with_floats(&weight, |weight| {
                    pack(Matrix::F32(weight), Form::Given)
                })?));
            }
        };
        let stored = weights.stored(name, shape)?;
        Ok(Self::Packed(match stored.dtype {
            DType::BF16 => pack(Matrix::Bf16(&stored.words()), packed_form),
            DType::F16 => pack(Matrix::F16(&stored.words()), packed_form),
            _ => pack(Matrix::F32(&stored.floats()), packed_form),
        }))
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
            Self::Tensors { weight, .. } => look_up((weight, weight.dtype()), tokens),
        }
    }
}

/// The rows `[tokens, C]` of a table `[V, C]`, as `dtype`.
pub(crate) fn look_up((table, dtype): (&Tensor, DType), tokens: &[TokenId]) -> Result<Tensor> {
    let ids: Vec<u32> = tokens.iter().map(|token| token.0).collect();
    table.index_select(&Tensor::new(ids, table.device())?, 0)?.to_dtype(dtype)
}
