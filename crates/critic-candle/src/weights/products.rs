//! Weights of products as they are to be read: in what form they are kept, and which part of them.

use std::ops::Range;

use candle_core::Tensor;

use super::{Part, Stored, WeightForm, Weights};
use crate::{error::LoadError, layers::ComputeDevice, make::DrawnTensor};

/// Weights of products as they are to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Products<'a> {
    weights: &'a Weights,
    form: WeightForm,
    split: Split,
}

/// How a weight `[out, in]` is shared out over the ranks of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    /// Each has all of it.
    Not,
    ByOutputs,
    ByInputs,
}

impl Weights {
    /// Those of products, whole, to be kept in `form`.
    pub(crate) fn products(&self, form: WeightForm) -> Products<'_> {
        Products { weights: self, form, split: Split::Not }
    }
}

impl<'a> Products<'a> {
    /// Of every weight and bias the rank's part of the outputs.
    pub(crate) fn split_by_outputs(self) -> Self {
        Self { split: Split::ByOutputs, ..self }
    }

    /// Of every weight the rank's part of the inputs.
    pub(crate) fn split_by_inputs(self) -> Self {
        Self { split: Split::ByInputs, ..self }
    }

    /// In what form they are kept.
    pub(crate) fn form(self) -> WeightForm {
        self.form
    }

    /// Where they are multiplied.
    pub(crate) fn device(self) -> &'a ComputeDevice {
        self.weights.device()
    }

    /// Outputs and inputs of what is read of a weight of `shape`, whose first dimension is the output and whose others together
    /// are the input.
    pub(crate) fn shape_of(self, shape: &[usize]) -> (usize, usize) {
        let Part { rows, columns } = self.part_of(shape);
        (rows.len(), columns.len())
    }

    /// What is read of the tensor `name`, as it is stored; as a whole it must have `shape` and finite values.
    pub(crate) fn stored(self, name: &str, shape: &[usize]) -> Result<Stored<'a>, LoadError> {
        self.weights.stored_part(name, shape, self.part_of(shape))
    }

    /// What the weights of this name are drawn from; none where they are in a file, or where only a part of them is read.
    pub(crate) fn drawn(self, name: &str, shape: &[usize]) -> Option<DrawnTensor> {
        let is_part = self.split != Split::Not && !self.weights.rank().shard.is_whole();
        if is_part { None } else { self.weights.drawn_tensor(name, shape) }
    }

    /// The same as a tensor on the way to where the model computes, `[out, in]`.
    pub(crate) fn tensor(self, name: &str, shape: &[usize]) -> Result<Tensor, LoadError> {
        let tensor = self.stored(name, shape)?.tensor(&<[usize; 2]>::from(self.shape_of(shape)))?;
        Ok(tensor.to_dtype(self.device().dtype())?)
    }

    /// What is read of a bias `[out]`.
    pub(crate) fn bias(self, name: &str, output: usize) -> Result<Tensor, LoadError> {
        Ok(self.tensor(name, &[output])?.flatten_all()?)
    }

    fn part_of(self, shape: &[usize]) -> Part {
        let (shard, whole) = (self.weights.rank().shard, |count| 0..count);
        let (output, input) = (shape[0], shape[1..].iter().product());
        let (rows, columns): (Range<usize>, Range<usize>) = match self.split {
            Split::Not => (whole(output), whole(input)),
            Split::ByOutputs => (shard.of(output), whole(input)),
            Split::ByInputs => (whole(output), shard.of(input)),
        };
        Part { rows, columns }
    }
}
