//! The device and number type that a model computes with.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use kernels_cuda::Gpu;

/// Bytes of a GPU that are kept free: for allocations within a step, for graphs, and for the driver's own needs.
pub(crate) const SPARE_BYTES: usize = 512 << 20;

/// The device and number type that a model computes with.
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
    /// The type of host tensors that are passed to the device.
    pub(crate) fn dtype(&self) -> DType {
        match self {
            Self::Kernels | Self::Gpu(_) => DType::F32,
            Self::Tensors(dtype) => *dtype,
        }
    }

    /// Bytes of one number that the model computes with.
    pub(crate) fn number_bytes(&self) -> usize {
        match self {
            Self::Kernels => 4,
            Self::Gpu(_) => 2,
            Self::Tensors(dtype) => dtype.size_in_bytes(),
        }
    }

    /// Positions in a block of its caches of keys and values.
    pub(crate) fn block_size(&self) -> usize {
        match self {
            Self::Kernels | Self::Tensors(_) => kernels::BLOCK_SIZE,
            Self::Gpu(_) => kernels_cuda::BLOCK_SIZE,
        }
    }

    /// Waits until all queued work is done; on the CPU, nothing is ever queued.
    pub(crate) fn wait(&self) -> Result<()> {
        match self {
            Self::Kernels | Self::Tensors(_) => Ok(()),
            Self::Gpu(gpu) => gpu_result(gpu.wait()),
        }
    }
}

/// A result of the GPU's crate, with its error as one of the tensor library.
pub(crate) fn gpu_result<T>(answer: kernels_cuda::Result<T>) -> Result<T> {
    answer.map_err(gpu_error)
}

/// An error of the GPU's crate as one of the tensor library. `LoadError::from` recovers the original.
pub(crate) fn gpu_error(error: kernels_cuda::Error) -> candle_core::Error {
    candle_core::Error::Cuda(Box::new(error))
}

/// All numbers of a tensor, copied to the CPU and converted to f32.
pub(crate) fn widened(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}
