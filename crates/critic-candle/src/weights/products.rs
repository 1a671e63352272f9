//! Access to the weights of matrix products: the form in which they are kept, and the part of each that a rank reads.

use std::ops::Range;

use candle_core::Tensor;

use super::{Part, Stored, WeightForm, Weights};
use crate::{device::ComputeDevice, drawn::DrawnTensor, error::LoadError};

/// Reads weights of matrix products, to be kept in one form and split in one way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Products<'a> {
    weights: &'a Weights,
    form: WeightForm,
    split: Split,
}

/// The shape of the weight `[out, in]` of a matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MatrixShape {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

/// How a weight `[out, in]` is split over the ranks of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    /// Each rank has the whole weight.
    Not,
    ByOutputs,
    ByInputs,
}

impl Weights {
    /// The weights of matrix products, not split, to be kept in `form`.
    pub(crate) fn products(&self, form: WeightForm) -> Products<'_> {
        Products { weights: self, form, split: Split::Not }
    }
}

impl<'a> Products<'a> {
    /// Restricts every weight and bias to the rank's part of the outputs.
    pub(crate) fn split_by_outputs(self) -> Self {
        Self { split: Split::ByOutputs, ..self }
    }

    /// Restricts every weight to the rank's part of the inputs.
    pub(crate) fn split_by_inputs(self) -> Self {
        Self { split: Split::ByInputs, ..self }
    }

    /// The form in which the weights are kept.
    pub(crate) fn form(self) -> WeightForm {
        self.form
    }

    /// The device that multiplies with them.
    pub(crate) fn device(self) -> &'a ComputeDevice {
        self.weights.device()
    }

    /// The shape of the part that is read of a weight of `shape`, whose first dimension is the outputs and the
    /// product of the others the inputs.
    pub(crate) fn shape_of(self, shape: &[usize]) -> MatrixShape {
        let Part { rows, columns } = self.part_of(shape);
        MatrixShape { outputs: rows.len(), inputs: columns.len() }
    }

    /// This rank's part of the tensor `name`, as stored. The whole tensor must have `shape`, and the part finite
    /// values.
    pub(crate) fn stored(self, name: &str, shape: &[usize]) -> Result<Stored<'a>, LoadError> {
        self.weights.stored_part(name, shape, self.part_of(shape))
    }

    /// The generator of the random weights of this name; `None` where they are in a file, or only a part of them is
    /// read.
    pub(crate) fn drawn(self, name: &str, shape: &[usize]) -> Option<DrawnTensor> {
        let is_part = self.split != Split::Not && !self.weights.rank().shard.is_whole();
        if is_part { None } else { self.weights.drawn_tensor(name, shape) }
    }

    /// This rank's part of the tensor `name`, `[out, in]`, on the CPU in the device's host type.
    pub(crate) fn tensor(self, name: &str, shape: &[usize]) -> Result<Tensor, LoadError> {
        let MatrixShape { outputs, inputs } = self.shape_of(shape);
        let tensor = self.stored(name, shape)?.tensor(&[outputs, inputs])?;
        Ok(tensor.to_dtype(self.device().dtype())?)
    }

    /// This rank's part of a bias of `output` numbers.
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
