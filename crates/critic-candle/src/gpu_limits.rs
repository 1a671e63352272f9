//! Sizes of models for which there are kernels on GPUs, and the refusal of others.

use crate::{device::ComputeDevice, error::LoadError};

/// GPU kernels read the columns of matrices in groups of this many.
pub(crate) const GPU_COLUMNS: usize = 8;

/// The products of few rows on GPUs read inputs in groups of this many.
pub(crate) const GPU_INPUTS: usize = 4;

/// A size for which a model cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedSize {
    /// Its key in the configuration.
    pub(crate) key: &'static str,
    /// Its value.
    pub(crate) found: usize,
    /// The sizes that can be run.
    pub(crate) expected: String,
}

impl RefusedSize {
    /// The error for this size in the configuration `file`.
    pub(crate) fn in_file(self, file: &str) -> LoadError {
        let Self { key, found, expected } = self;
        LoadError::Unsupported { file: file.into(), key, found: found.to_string(), expected }
    }
}

/// Whether one of `devices` is a GPU.
pub(crate) fn has_gpu(devices: &[ComputeDevice]) -> bool {
    devices.iter().any(|device| matches!(device, ComputeDevice::Gpu(_)))
}
