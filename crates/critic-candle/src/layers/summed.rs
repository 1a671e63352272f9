//! A product whose inputs are split over the ranks of a decoder.

use candle_core::Result;

use super::{Bias, Linear, Rows};
use crate::{
    error::LoadError,
    parallel::Reduce,
    weights::{WeightForm, Weights},
};

/// x W^T, of which each rank has some columns of W and the numbers of x that belong to them, and all together the sum.
#[derive(Debug)]
pub(crate) struct SummedLinear {
    part: Linear,
    reduce: Option<Reduce>,
}

impl SummedLinear {
    /// Reads this rank's part of `{prefix}weight`, which is `[output, input]` as a whole, to be kept in `form`.
    pub(crate) fn load(
        weights: &Weights,
        form: WeightForm,
        prefix: &str,
        shape: (usize, usize),
    ) -> std::result::Result<Self, LoadError> {
        let part = Linear::load(weights.products(form).split_by_inputs(), prefix, shape, Bias::Absent)?;
        Ok(Self { part, reduce: weights.rank().reduce.clone() })
    }

    /// Adds what comes of `x`, this rank's part of `[rows, in]`, and of the other ranks' parts to `y` `[rows, out]`; `change` is
    /// memory to do so.
    pub(crate) fn add(&self, x: &Rows, y: &mut Rows, change: &mut Rows) -> Result<()> {
        let Some(reduce) = &self.reduce else { return self.part.add(x, y, change) };
        self.part.forward(x, change)?;
        reduce.sum(change)?;
        y.add(change)
    }
}
