//! Errors of work on a GPU.

use cudarc::{
    cublaslt::result::CublasError,
    driver::{DriverError, sys::CUresult},
};

/// Why something could not be done on a GPU.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine has no CUDA driver.
    #[error("there is no CUDA driver on this machine (libcuda.so was not found)")]
    NoDriver,
    /// cuBLASLt, which products need, was not found.
    #[error(
        "libcublasLt.so was not found: it comes with CUDA, or with a PyTorch install in nvidia/cu13/lib; name its folder in LD_LIBRARY_PATH"
    )]
    NoProducts,
    /// The driver does not have the requested GPU.
    #[error("there is no GPU {ordinal}: the driver knows {count}")]
    NoGpu {
        /// The ordinal of the requested GPU.
        ordinal: usize,
        /// The number of GPUs.
        count: usize,
    },
    /// The GPU's compute capability is too low for the kernels.
    #[error("{name} has compute capability {}.{}: the kernels need 8.0", capability.0, capability.1)]
    TooOld {
        /// The name of the GPU.
        name: String,
        /// Its compute capability, major and minor.
        capability: (i32, i32),
    },
    /// The program has no kernels that the driver can load.
    #[error(
        "no kernel can be loaded: this program was built without the feature `cuda`, or the driver is older than CUDA 13"
    )]
    NoKernels(#[source] DriverError),
    /// The GPU's memory is full.
    #[error("the GPU has no room for another {bytes} bytes")]
    OutOfMemory {
        /// The bytes that were requested.
        bytes: usize,
    },
    /// Memory was requested by work that is being captured as a graph.
    #[error("a graph was to be captured of work that asks for memory")]
    Capturing,
    /// Several GPUs were to add up numbers in a program built without the feature `nccl`.
    #[error("this program was built without the feature `nccl`, which several GPUs need")]
    NoCommunication,
    /// NCCL, which several GPUs need, was not found.
    #[error(
        "libnccl.so.2 was not found: several GPUs add up numbers by NCCL; name its folder in LD_LIBRARY_PATH"
    )]
    NoNccl,
    /// NCCL reported an error.
    #[error("GPUs could not add up numbers: NCCL's status is {status}")]
    Communication {
        /// Its status, of type `ncclResult_t`.
        status: i32,
    },
    /// The GPUs were disconnected, since one of them failed.
    #[error("the GPUs are no longer connected")]
    Disconnected,
    /// The driver reported an error.
    #[error("the GPU failed")]
    Driver(#[source] DriverError),
    /// cuBLASLt reported an error.
    #[error("a matrix product failed on the GPU")]
    Product(#[source] CublasError),
}

/// Converts the driver's error on loading a file of kernels of `bytes` bytes, or one kernel of it.
pub(crate) fn not_loaded(error: DriverError, bytes: usize) -> Error {
    match error.0 {
        CUresult::CUDA_ERROR_INVALID_IMAGE
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_NOT_FOUND => Error::NoKernels(error),
        _ => full(error, bytes),
    }
}

/// Converts the driver's error on allocating `bytes` bytes.
pub(crate) fn full(error: DriverError, bytes: usize) -> Error {
    match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { bytes },
        _ => Error::Driver(error),
    }
}

impl From<DriverError> for Error {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

impl From<CublasError> for Error {
    fn from(error: CublasError) -> Self {
        Self::Product(error)
    }
}

/// The result of work on a GPU.
pub type Result<T> = std::result::Result<T, Error>;
