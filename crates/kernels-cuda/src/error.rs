//! What can go wrong on a GPU.

use cudarc::{
    cublaslt::result::CublasError,
    driver::{DriverError, sys::CUresult},
};

/// Why something could not be done on a GPU.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No driver is there.
    #[error("there is no CUDA driver on this machine (libcuda.so was not found)")]
    NoDriver,
    /// A library that products need is not there.
    #[error(
        "libcublasLt.so was not found: it comes with CUDA, or with a PyTorch install in nvidia/cu13/lib; name its folder in LD_LIBRARY_PATH"
    )]
    NoProducts,
    /// The driver is there, but not this GPU.
    #[error("there is no GPU {ordinal}: the driver knows {count}")]
    NoGpu {
        /// The one that was asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The GPU cannot run the kernels.
    #[error("{name} has compute capability {}.{}: the kernels need 8.0", capability.0, capability.1)]
    TooOld {
        /// What the GPU is called.
        name: String,
        /// What it can do.
        capability: (i32, i32),
    },
    /// The program has no kernels for it.
    #[error(
        "no kernel can be loaded: this program was built without the feature `cuda`, or the driver is older than CUDA 13"
    )]
    NoKernels(#[source] DriverError),
    /// The GPU's memory is full.
    #[error("the GPU has no room for another {bytes} bytes")]
    OutOfMemory {
        /// What was asked for.
        bytes: usize,
    },
    /// Memory was asked for by what is captured as a graph.
    #[error("a graph was to be captured of work that asks for memory")]
    Capturing,
    /// Several GPUs were to add up numbers, and the program cannot.
    #[error("this program was built without the feature `nccl`, which several GPUs need")]
    NoCommunication,
    /// A library that several GPUs need is not there.
    #[error(
        "libnccl.so.2 was not found: several GPUs add up numbers by NCCL; name its folder in LD_LIBRARY_PATH"
    )]
    NoNccl,
    /// NCCL says so.
    #[error("GPUs could not add up numbers: NCCL's status is {status}")]
    Communication {
        /// Its number for what went wrong, of `ncclResult_t`.
        status: i32,
    },
    /// The connection of several GPUs was given up, since one of them failed.
    #[error("the GPUs are no longer connected")]
    Disconnected,
    /// The driver says so.
    #[error("the GPU failed")]
    Driver(#[source] DriverError),
    /// The library of products says so.
    #[error("a matrix product failed on the GPU")]
    Product(#[source] CublasError),
}

/// What the driver said when it was asked for memory.
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

/// What can be done on a GPU.
pub type Result<T> = std::result::Result<T, Error>;
