//! The activations that layers pass on, and their buffers.

mod mixing;

use std::{ops::Range, sync::Arc};

use candle_core::{DType, Device, Result, Tensor};
use half::bf16;
use kernels::Isa;
use kernels_cuda::{Gpu, Mixture};

use crate::device::{ComputeDevice, gpu_result, widened};

/// Rows of numbers, one for each token or patch. Operations on single rows give the same result whatever the other
/// rows are.
#[derive(Debug)]
pub(crate) enum Rows {
    /// On the CPU in f32, for `kernels`. The memory is reused.
    Floats {
        floats: Vec<f32>, // [rows, columns]
        columns: usize,
    },
    /// On the CPU in another type.
    Tensor(Tensor), // [rows, columns]
    /// On a GPU in bf16, for `kernels_cuda`. The memory is reused.
    Gpu(kernels_cuda::Rows), // [rows, columns]
}

impl Rows {
    /// An empty buffer, which allocates on first use.
    pub(crate) fn new() -> Self {
        Self::Floats { floats: Vec::new(), columns: 0 }
    }

    /// Converts the rows to a tensor `[rows, columns]` on the CPU.
    pub(crate) fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Floats { floats, columns } => {
                let rows = floats.len().checked_div(columns).unwrap_or_default();
                Tensor::from_vec(floats, (rows, columns), &Device::Cpu)
            }
            Self::Tensor(tensor) => Ok(tensor),
            Self::Gpu(_) => self.to_tensor(),
        }
    }

    /// A copy of the rows as a tensor `[rows, columns]` on the CPU.
    pub(crate) fn to_tensor(&self) -> Result<Tensor> {
        match self {
            Self::Floats { floats, columns } => {
                Self::Floats { floats: floats.clone(), columns: *columns }.into_tensor()
            }
            Self::Tensor(tensor) => Ok(tensor.clone()),
            Self::Gpu(rows) => Tensor::from_vec(gpu_result(rows.download())?, rows.shape(), &Device::Cpu),
        }
    }

    /// The numbers of each row, converted to f32.
    pub(crate) fn into_vectors(self) -> Result<Vec<Vec<f32>>> {
        let columns = self.shape()?.1;
        let floats = match self {
            Self::Floats { floats, .. } => floats,
            Self::Tensor(tensor) => widened(&tensor)?,
            Self::Gpu(rows) => gpu_result(rows.download())?,
        };
        Ok(floats.chunks(columns.max(1)).map(<[f32]>::to_vec).collect())
    }

    /// The numbers of rows and columns.
    pub(crate) fn shape(&self) -> Result<(usize, usize)> {
        match self {
            Self::Floats { floats, columns } => {
                Ok((floats.len().checked_div(*columns).unwrap_or_default(), *columns))
            }
            Self::Tensor(tensor) => tensor.dims2(),
            Self::Gpu(rows) => Ok(rows.shape()),
        }
    }

    /// Size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Floats { floats, .. } => size_of_val(floats.as_slice()),
            Self::Tensor(tensor) => tensor.elem_count() * tensor.dtype().size_in_bytes(),
            Self::Gpu(rows) => rows.bytes(),
        }
    }

    /// The numbers, for a kernel on the CPU; an error for other kinds of rows.
    pub(crate) fn floats(&self) -> Result<&[f32]> {
        match self {
            Self::Floats { floats, .. } => Ok(floats),
            Self::Tensor(_) | Self::Gpu(_) => candle_core::bail!("rows came to a layer for the CPU in f32"),
        }
    }

    /// The numbers, for the tensor library; an error for other kinds of rows.
    pub(crate) fn tensor(&self) -> Result<&Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Floats { .. } | Self::Gpu(_) => candle_core::bail!("rows came to a layer of tensors"),
        }
    }

    /// The numbers, for a kernel on a GPU; an error for other kinds of rows.
    pub(crate) fn gpu(&self) -> Result<&kernels_cuda::Rows> {
        match self {
            Self::Gpu(rows) => Ok(rows),
            Self::Floats { .. } | Self::Tensor(_) => candle_core::bail!("rows came to a layer for a GPU"),
        }
    }

    /// Makes room on the CPU for `rows` rows of `columns` numbers. The content is unspecified, so the caller must
    /// write every number.
    pub(crate) fn room(&mut self, (rows, columns): (usize, usize)) -> &mut [f32] {
        if !matches!(self, Self::Floats { .. }) {
            *self = Self::new();
        }
        let Self::Floats { floats, columns: own } = self else { unreachable!("they were made floats") };
        floats.resize(rows * columns, 0.0);
        *own = columns;
        floats
    }

    /// A buffer on `gpu`, which replaces rows of another kind.
    pub(crate) fn on(&mut self, gpu: &Arc<Gpu>) -> Result<&mut kernels_cuda::Rows> {
        if !matches!(self, Self::Gpu(_)) {
            *self = Self::Gpu(gpu_result(kernels_cuda::Rows::empty(gpu))?);
        }
        let Self::Gpu(rows) = self else { unreachable!("they were put on a GPU") };
        Ok(rows)
    }

    /// Copies the rows `range` of `other` to the rows from `first` on.
    pub(crate) fn copy(&mut self, first: usize, other: &Self, range: Range<usize>) -> Result<()> {
        match self {
            Self::Floats { floats, columns } => {
                let from = &other.floats()?[range.start * *columns..range.end * *columns];
                floats[first * *columns..][..from.len()].copy_from_slice(from);
            }
            Self::Tensor(tensor) => {
                let from = other.tensor()?.narrow(0, range.start, range.len())?.contiguous()?;
                tensor.slice_set(&from, 0, first)?;
            }
            Self::Gpu(rows) => gpu_result(rows.copy(first, other.gpu()?, range))?,
        }
        Ok(())
    }

    /// Adds the rows of `other`, of the same shape.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        match self {
            Self::Floats { floats, .. } => kernels::add(Isa::best(), floats, other.floats()?),
            Self::Tensor(tensor) => *tensor = (&*tensor + other.tensor()?)?,
            Self::Gpu(rows) => gpu_result(rows.add_repeated(other.gpu()?))?,
        }
        Ok(())
    }

    /// Adds `other` `[count, columns]` to each group of `count` consecutive rows.
    pub(crate) fn add_repeated(&mut self, other: &Self) -> Result<()> {
        let (rows, columns) = self.shape()?;
        match self {
            Self::Floats { floats, .. } => kernels::add(Isa::best(), floats, other.floats()?),
            Self::Tensor(tensor) => {
                let count = other.shape()?.0;
                let grouped =
                    tensor.reshape((rows / count, count, columns))?.broadcast_add(other.tensor()?)?;
                *tensor = grouped.reshape((rows, columns))?;
            }
            Self::Gpu(rows) => gpu_result(rows.add_repeated(other.gpu()?))?,
        }
        Ok(())
    }

    /// Replaces each number by its hyperbolic tangent.
    pub(crate) fn tanh(&mut self) -> Result<()> {
        match self {
            Self::Floats { floats, .. } => floats.iter_mut().for_each(|number| *number = number.tanh()),
            Self::Tensor(tensor) => *tensor = tensor.tanh()?,
            Self::Gpu(rows) => gpu_result(kernels_cuda::Activation::Tanh.run(rows))?,
        }
        Ok(())
    }

    /// The rows with these indices, in this order.
    pub(crate) fn pick(&self, indices: &[u32]) -> Result<Self> {
        match self {
            Self::Floats { floats, columns } => {
                let row = |index: &u32| &floats[*index as usize * columns..][..*columns];
                Ok(Self::Floats {
                    floats: indices.iter().flat_map(row).copied().collect(),
                    columns: *columns,
                })
            }
            Self::Tensor(tensor) => {
                Ok(Self::Tensor(tensor.index_select(&Tensor::new(indices, tensor.device())?, 0)?))
            }
            Self::Gpu(rows) => {
                let mut picked = gpu_result(kernels_cuda::Rows::empty(rows.gpu()))?;
                gpu_result(picked.gather(rows, indices))?;
                Ok(Self::Gpu(picked))
            }
        }
    }

    /// The `mixtures` of these rows, one row each.
    pub(crate) fn mix(&self, mixtures: &[Mixture]) -> Result<Self> {
        match self {
            Self::Floats { floats, columns } => {
                Ok(Self::Floats { floats: mixing::mix(floats, *columns, mixtures), columns: *columns })
            }
            Self::Tensor(tensor) => {
                let columns = tensor.dim(1)?;
                let mixed = mixing::mix(&widened(tensor)?, columns, mixtures);
                let mixed = Tensor::from_vec(mixed, (mixtures.len(), columns), tensor.device())?;
                Ok(Self::Tensor(mixed.to_dtype(tensor.dtype())?))
            }
            Self::Gpu(rows) => {
                let mut mixed = gpu_result(kernels_cuda::Rows::empty(rows.gpu()))?;
                gpu_result(mixed.mix(rows, mixtures))?;
                Ok(Self::Gpu(mixed))
            }
        }
    }

    /// Concatenates pieces of rows: at least one, all of the same kind.
    pub(crate) fn join(pieces: &[(&Self, Range<usize>)]) -> Result<Self> {
        let columns = pieces[0].0.shape()?.1;
        match pieces[0].0 {
            Self::Floats { .. } => {
                let mut joined = Vec::new();
                for (rows, range) in pieces {
                    joined.extend_from_slice(&rows.floats()?[range.start * columns..range.end * columns]);
                }
                Ok(Self::Floats { floats: joined, columns })
            }
            Self::Tensor(_) => {
                let part = |(rows, range): &(&Self, Range<usize>)| {
                    rows.tensor()?.narrow(0, range.start, range.len())
                };
                Ok(Self::Tensor(Tensor::cat(&pieces.iter().map(part).collect::<Result<Vec<_>>>()?, 0)?))
            }
            Self::Gpu(first) => {
                let count = pieces.iter().map(|(_, range)| range.len()).sum();
                let mut joined = gpu_result(kernels_cuda::Rows::empty(first.gpu()))?;
                gpu_result(joined.room((count, columns)))?;
                let mut row = 0;
                for (rows, range) in pieces {
                    gpu_result(joined.copy(row, rows.gpu()?, range.clone()))?;
                    row += range.len();
                }
                Ok(Self::Gpu(joined))
            }
        }
    }
}

impl ComputeDevice {
    /// Copies a tensor `[rows, columns]` to the device, in the model's number type.
    pub(crate) fn rows(&self, tensor: &Tensor) -> Result<Rows> {
        let columns = tensor.dim(1)?;
        match self {
            Self::Kernels => {
                let floats = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
                Ok(Rows::Floats { floats, columns })
            }
            Self::Tensors(dtype) => Ok(Rows::Tensor(tensor.to_dtype(*dtype)?)),
            Self::Gpu(gpu) => {
                let numbers: Vec<bf16> = tensor.to_dtype(DType::BF16)?.flatten_all()?.to_vec1()?;
                Ok(Rows::Gpu(gpu_result(kernels_cuda::Rows::upload(gpu, &numbers, columns))?))
            }
        }
    }
}
