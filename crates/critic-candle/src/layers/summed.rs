//! A linear layer whose inputs are split over the ranks of a decoder.

use candle_core::Result;

use super::{Bias, Linear};
use crate::{
    error::LoadError,
    parallel::Reduce,
    rows::Rows,
    weights::{MatrixShape, WeightForm, Weights},
};

/// A linear layer, x W^T, of which each rank has some columns of W and the corresponding numbers of x; the ranks'
/// partial products are summed.
#[derive(Debug)]
pub(crate) struct SummedLinear {
    part: Linear,
    reduce: Option<Reduce>,
}

impl SummedLinear {
    /// Loads this rank's part of `{prefix}weight`, kept in `form`; `shape` is that of the whole weight.
    pub(crate) fn load(
        weights: &Weights,
        form: WeightForm,
        prefix: &str,
        shape: MatrixShape,
    ) -> std::result::Result<Self, LoadError> {
        let part = Linear::load(weights.products(form).split_by_inputs(), prefix, shape, Bias::Absent)?;
        Ok(Self { part, reduce: weights.rank().reduce.clone() })
    }

    /// Adds the product of `x`, this rank's part of `[rows, in]`, summed over all ranks, to `y` `[rows, out]`;
    /// `change` is working memory.
    pub(crate) fn add(&self, x: &Rows, y: &mut Rows, change: &mut Rows) -> Result<()> {
        let Some(reduce) = &self.reduce else { return self.part.add(x, y, change) };
        self.part.forward(x, change)?;
        reduce.sum(change)?;
        y.add(change)
    }
}
