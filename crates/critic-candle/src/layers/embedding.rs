//! The table of the vocabulary.

use candle_core::{DType, Result, Tensor};
use critic::TokenId;

use super::{floats::has_kernels, linear::Linear};
use crate::{
    error::LoadError,
    weights::{WeightForm, Weights},
};

/// A table `[V, C]` of which a few rows are read at a time.
#[derive(Debug)]
pub(crate) enum Embedding {
    /// Numbers.
    Table { table: Tensor, dtype: DType },
    /// Blocks, which stay as they are stored.
    Packed(Linear),
}

impl Embedding {
    /// Reads the table `name`, whose rows come out in the type in which the model computes.
    pub(crate) fn load(
        weights: &Weights,
        name: &str,
        shape: &[usize; 2],
    ) -> std::result::Result<Self, LoadError> {
        let form = weights.form().of_the_rest();
        let is_blocks = weights.stored(name, shape)?.stored_type.dtype().is_none();
        if is_blocks && form != WeightForm::F32 && has_kernels(weights.device(), weights.dtype()) {
            return Ok(Self::Packed(Linear::read(
                (weights, form),
                &[(name.to_owned(), shape.to_vec())],
                None,
            )?));
        }
        Ok(Self::Table { table: weights.table(name, shape)?, dtype: weights.dtype() })
    }

    /// The rows `[tokens, C]` of `tokens`.
    pub(crate) fn forward(&self, tokens: &[TokenId]) -> Result<Tensor> {
        match self {
            Self::Table { table, dtype } => look_up((table, *dtype), tokens),
            Self::Packed(linear) => linear.embed(tokens),
        }
    }
}

/// The rows `[tokens, C]` of a table `[V, C]`, as `dtype`.
pub(super) fn look_up((table, dtype): (&Tensor, DType), tokens: &[TokenId]) -> Result<Tensor> {
    let ids: Vec<u32> = tokens.iter().map(|token| token.0).collect();
    table.index_select(&Tensor::new(ids, table.device())?, 0)?.to_dtype(dtype)
}
