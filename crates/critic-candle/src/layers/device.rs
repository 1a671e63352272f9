//! Where a model computes, and in what numbers.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use half::bf16;
use kernels_cuda::Gpu;

use super::Rows;

/// Bytes of a GPU that are left for what is allocated and freed within a step, for graphs, and for what the driver needs.
pub(crate) const SPARE_BYTES: usize = 512 << 20;

/// Where a model computes, and in what numbers.
#[derive(Debug, Clone)]
pub(crate) enum ComputeDevice {
    /// On the CPU in f32, by `kernels`.
    Kernels,
    /// On the CPU in another type, by the tensor library.
    Tensors(DType),
    /// On a GPU in bf16, by `kernels_cuda`.
    Gpu(Arc<Gpu>),
}

impl ComputeDevice {
    /// The type of tensors that are on the way to where the model computes.
    pub(crate) fn dtype(&self) -> DType {
        match self {
            Self::Kernels | Self::Gpu(_) => DType::F32,
            Self::Tensors(dtype) => *dtype,
        }
    }

    /// Bytes of a number that the model computes with.
    pub(crate) fn number_bytes(&self) -> usize {
        match self {
            Self::Kernels => 4,
            Self::Gpu(_) => 2,
            Self::Tensors(dtype) => dtype.size_in_bytes(),
        }
    }

    /// Waits until what was asked for is done; what is computed by the processor is.
    pub(crate) fn wait(&self) -> Result<()> {
        match self {
            Self::Kernels | Self::Tensors(_) => Ok(()),
            Self::Gpu(gpu) => gpu_result(gpu.wait()),
        }
    }

    /// The numbers of a tensor `[rows, columns]` where the model computes.
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

/// What a GPU answered, as the tensor library would say it.
pub(crate) fn gpu_result<T>(answer: kernels_cuda::Result<T>) -> Result<T> {
    answer.map_err(candle_core::Error::wrap)
}

/// The numbers of a tensor on the CPU, widened.
pub(crate) fn widened(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}
