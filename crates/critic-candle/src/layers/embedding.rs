//! The embedding table of the vocabulary.

use candle_core::{DType, Result, Tensor};
use critic::TokenId;
use half::{bf16, slice::HalfBitsSliceExt};

use super::{drawn, linear::Linear};
use crate::{
    device::{ComputeDevice, gpu_result},
    error::LoadError,
    rows::Rows,
    weights::{WeightForm, Weights},
};

/// A table `[V, C]` of which a few rows are read at a time.
#[derive(Debug)]
pub(crate) enum Embedding {
    /// On the CPU, as numbers.
    Table { table: Tensor, device: ComputeDevice },
    /// On the CPU, in the quantised blocks of the file.
    Packed(Box<Linear>),
    /// On a GPU, as numbers.
    Gpu(kernels_cuda::Rows),
}

impl Embedding {
    /// Loads the table `name`. Its rows are returned in the type in which the model computes.
    pub(crate) fn load(
        weights: &Weights,
        name: &str,
        shape: &[usize; 2],
    ) -> std::result::Result<Self, LoadError> {
        let form = weights.form().of_the_rest();
        match weights.device() {
            ComputeDevice::Gpu(gpu) => {
                if let Some(table) = drawn::table(weights, gpu, name, shape)? {
                    return Ok(Self::Gpu(table));
                }
                let words = weights.stored(name, shape)?.into_bf16()?;
                let numbers = words.reinterpret_cast::<bf16>();
                return Ok(Self::Gpu(kernels_cuda::Rows::upload(gpu, numbers, shape[1])?));
            }
            ComputeDevice::Kernels => {
                let is_blocks = weights.stored(name, shape)?.stored_type.dtype().is_none();
                if is_blocks && form != WeightForm::F32 {
                    let names = [(name.to_owned(), shape.to_vec())];
                    let packed = Linear::read(weights.products(form), &names, None)?;
                    return Ok(Self::Packed(Box::new(packed)));
                }
            }
            ComputeDevice::Tensors(_) => {}
        }
        Ok(Self::Table { table: weights.table(name, shape)?, device: weights.device().clone() })
    }

    /// The embeddings `[tokens, C]` of `tokens`.
    pub(crate) fn forward(&self, tokens: &[TokenId]) -> Result<Rows> {
        match self {
            Self::Table { table, device } => device.rows(&look_up(table, tokens, device.dtype())?),
            Self::Packed(linear) => linear.embed(tokens),
            Self::Gpu(table) => {
                let ids: Vec<u32> = tokens.iter().map(|token| token.0).collect();
                let mut rows = gpu_result(kernels_cuda::Rows::empty(table.gpu()))?;
                gpu_result(rows.gather(table, &ids))?;
                Ok(Rows::Gpu(rows))
            }
        }
    }
}

/// The rows `[tokens, C]` of a table `[V, C]`, converted to `dtype`.
pub(super) fn look_up(table: &Tensor, tokens: &[TokenId], dtype: DType) -> Result<Tensor> {
    let ids: Vec<u32> = tokens.iter().map(|token| token.0).collect();
    table.index_select(&Tensor::new(ids, table.device())?, 0)?.to_dtype(dtype)
}
