//! The numbers that layers hand on, and the buffers that they are in.

use candle_core::{Device, Result, Tensor};
use kernels::Isa;

use super::{has_kernels, with_floats};

/// Rows of numbers, one for each token or patch. What is a row's own comes out the same whatever the other rows are.
#[derive(Debug)]
pub(crate) enum Rows {
    /// On the CPU in f32, where `kernels` works. The memory stays from one use to the next.
    Floats {
        floats: Vec<f32>, // [rows, columns]
        columns: usize,
    },
    /// Anywhere else.
    Tensor(Tensor), // [rows, columns]
}

impl Rows {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self::Floats { floats: Vec::new(), columns: 0 }
    }

    /// Those of a tensor `[rows, columns]`, which goes to kernels where it can.
    pub(crate) fn from_tensor(tensor: Tensor) -> Result<Self> {
        if has_kernels(tensor.device(), tensor.dtype()) {
            let columns = tensor.dim(1)?;
            return Ok(Self::Floats { floats: tensor.flatten_all()?.to_vec1()?, columns });
        }
        Ok(Self::Tensor(tensor))
    }

    /// As a tensor `[rows, columns]`.
    pub(crate) fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Floats { floats, columns } => {
                let rows = floats.len().checked_div(columns).unwrap_or_default();
                Tensor::from_vec(floats, (rows, columns), &Device::Cpu)
            }
            Self::Tensor(tensor) => Ok(tensor),
        }
    }

    /// A copy of them as a tensor `[rows, columns]`.
    pub(crate) fn to_tensor(&self) -> Result<Tensor> {
        match self {
            Self::Floats { floats, columns } => {
                Self::Floats { floats: floats.clone(), columns: *columns }.into_tensor()
            }
            Self::Tensor(tensor) => Ok(tensor.clone()),
        }
    }

    /// How many rows and columns there are.
    pub(crate) fn shape(&self) -> Result<(usize, usize)> {
        match self {
            Self::Floats { floats, columns } => {
                Ok((floats.len().checked_div(*columns).unwrap_or_default(), *columns))
            }
            Self::Tensor(tensor) => tensor.dims2(),
        }
    }

    /// The numbers, for a kernel.
    pub(crate) fn floats(&self) -> Result<&[f32]> {
        match self {
            Self::Floats { floats, .. } => Ok(floats),
            Self::Tensor(_) => candle_core::bail!("rows in a tensor came to a layer for the CPU in f32"),
        }
    }

    /// The numbers, for the tensor library.
    pub(crate) fn tensor(&self) -> Result<&Tensor> {
        match self {
            Self::Floats { .. } => candle_core::bail!("rows for the CPU in f32 came to a layer of tensors"),
            Self::Tensor(tensor) => Ok(tensor),
        }
    }

    /// Makes room for `rows` of `columns` numbers, all of which are to be written: there may be others in it.
    pub(crate) fn room(&mut self, (rows, columns): (usize, usize)) -> &mut [f32] {
        if let Self::Tensor(_) = self {
            *self = Self::new();
        }
        let Self::Floats { floats, columns: own } = self else { unreachable!("they were made floats") };
        floats.resize(rows * columns, 0.0);
        *own = columns;
        floats
    }

    /// Adds other rows of the same shape.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        match self {
            Self::Floats { floats, .. } => kernels::add(Isa::best(), floats, other.floats()?),
            Self::Tensor(tensor) => *tensor = (&*tensor + other.tensor()?)?,
        }
        Ok(())
    }

    /// Adds the rows of `other` `[some, columns]` to the first rows, to the next ones, and so on.
    pub(crate) fn add_repeated(&mut self, other: &Tensor) -> Result<()> {
        let (rows, columns) = self.shape()?;
        match self {
            Self::Floats { floats, .. } => {
                with_floats(other, |other| kernels::add(Isa::best(), floats, other))
            }
            Self::Tensor(tensor) => {
                let count = other.dim(0)?;
                let grouped = tensor.reshape((rows / count, count, columns))?.broadcast_add(other)?;
                *tensor = grouped.reshape((rows, columns))?;
                Ok(())
            }
        }
    }

    /// The rows of these numbers, in this order.
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
        }
    }
}
