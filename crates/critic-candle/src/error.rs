//! Errors of loading and writing checkpoints. Each message is one sentence with the file, the problem and the
//! expectation.

use crate::hub::HubError;

/// Why a checkpoint cannot be loaded or written.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that every checkpoint has is absent.
    #[error("{file} is missing from {folder}; a checkpoint needs {expected}")]
    MissingFile {
        /// Name of the file.
        file: String,
        /// The folder, or other source, that should contain it.
        folder: String,
        /// What it should contain.
        expected: &'static str,
    },
    /// A file could not be read.
    #[error("{file} cannot be read")]
    Read {
        /// Path of the file.
        file: String,
        /// The I/O error.
        #[source]
        cause: std::io::Error,
    },
    /// A file could not be written.
    #[error("{file} cannot be written")]
    Write {
        /// Path of the file.
        file: String,
        /// The I/O error.
        #[source]
        cause: std::io::Error,
    },
    /// A file that should be created exists already.
    #[error("{file} is there already; expected a new name, so that nothing is lost")]
    Exists {
        /// Path of the file.
        file: String,
    },
    /// A JSON file does not have the expected contents.
    #[error("{file} is not a valid {expected}")]
    Json {
        /// Path of the file.
        file: String,
        /// What it should be.
        expected: &'static str,
        /// The error of the parser, with its position.
        #[source]
        cause: serde_json::Error,
    },
    /// A file of weights contradicts its own header, or an index lists a file outside of the folder.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// Path of the file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is absent.
    #[error("tensor {tensor} is missing from {file}; expected shape {expected:?}")]
    MissingTensor {
        /// Its name in this checkpoint's layout.
        tensor: String,
        /// The file or folder that should contain it.
        file: String,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
    },
    /// A tensor has another shape than the configuration implies.
    #[error("tensor {tensor} in {file} has shape {found:?}; config.json implies {expected:?}")]
    WrongShape {
        /// Its name.
        tensor: String,
        /// The file that holds it.
        file: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
    },
    /// The checkpoint has more layers than the configuration implies: without them it is another model.
    #[error("tensor {tensor} is in {file}; config.json implies {layers} layers")]
    MoreLayers {
        /// The name of a tensor of the first layer that is one too many.
        tensor: String,
        /// The file or folder that holds it.
        file: String,
        /// The number of layers that the configuration implies.
        layers: usize,
    },
    /// A tensor is in two files, of which at least one is GGUF.
    #[error("tensor {tensor} is in {} and in {}; expected one file that has it", files[0], files[1])]
    Twice {
        /// Its name.
        tensor: String,
        /// The files.
        files: [String; 2],
    },
    /// A weight is too large for f16, the form in which it should be written.
    #[error("tensor {tensor} has a weight that is too large for f16; expected another form")]
    TooLarge {
        /// Its name.
        tensor: String,
    },
    /// A tensor is stored in a type that is not supported.
    #[error(
        "tensor {tensor} in {file} is stored as {found}; expected F32, F16 or BF16, or of GGUF's types one of Q2 to Q8 or IQ4_NL"
    )]
    WrongType {
        /// Its name.
        tensor: String,
        /// The file that holds it.
        file: String,
        /// The type in the file.
        found: String,
    },
    /// The part of a tensor for one rank would begin or end within a quantised block.
    #[error(
        "tensor {tensor} in {file} is stored in blocks of {block} weights; expected a part of each row from {} to {} to be whole blocks: choose another number of ranks, or a checkpoint in 16 bits",
        columns.start,
        columns.end
    )]
    CutBlock {
        /// Its name.
        tensor: String,
        /// The file that holds it.
        file: String,
        /// Weights of a block.
        block: usize,
        /// The range of weights of each row in the part.
        columns: std::ops::Range<usize>,
    },
    /// No thread could be started to compute the digest of the weights.
    #[error("no thread can be started to read the weights")]
    Thread {
        /// The error of the system.
        #[source]
        cause: std::io::Error,
    },
    /// The options have 0 ranks.
    #[error("a decoder cannot be split over 0 ranks; expected at least 1")]
    NoRanks,
    /// A weight is infinite or not a number.
    #[error("tensor {tensor} in {file} holds a value that is not finite; expected finite weights")]
    NonFinite {
        /// Its name.
        tensor: String,
        /// The file that holds it.
        file: String,
    },
    /// `config.json` names an unknown architecture.
    #[error("{file} names the architecture {found:?}; expected one of {expected:?}")]
    UnknownArchitecture {
        /// Path of the file.
        file: String,
        /// The name in the file.
        found: String,
        /// The known names.
        expected: Vec<&'static str>,
    },
    /// A configuration value is absent, out of range or not implemented.
    #[error("{file}: {key} is {found}; expected {expected}")]
    Unsupported {
        /// Path of the file.
        file: String,
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// The supported values.
        expected: String,
    },
    /// The tokenizer is not supported or inconsistent with the model.
    #[error("{file} is not a tokenizer that can be read: {reason}")]
    Tokenizer {
        /// Path of the file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The vision tower that the checkpoint refers to cannot be resolved.
    #[error("the vision tower {tower:?} that {file} refers to cannot be had")]
    VisionTower {
        /// The value of `mm_vision_tower`.
        tower: String,
        /// Path of the file.
        file: String,
        /// The error of the hub.
        #[source]
        cause: HubError,
    },
    /// The tensor library failed.
    #[error("the tensor library failed while loading")]
    Tensor(#[source] candle_core::Error),
    /// The GPU failed, or does not exist.
    #[error("the GPU cannot be used")]
    Gpu(#[from] kernels_cuda::Error),
    /// The configured context length is 0, or longer than the checkpoint's.
    #[error(
        "a context of {asked} tokens was asked for; expected 1 to {has}, for which the checkpoint was made"
    )]
    ContextLength {
        /// The configured tokens.
        asked: usize,
        /// The tokens of the checkpoint's context.
        has: usize,
    },
    /// The configured cache of keys and values is larger than the memory left on the GPU.
    #[error(
        "the GPU has {left_mib} MiB left for the cache of keys and values; expected no more than that to be asked for, and not {asked_mib} MiB"
    )]
    CacheTooLarge {
        /// The configured size, in MiB.
        asked_mib: usize,
        /// The memory left after everything else is allocated, on all GPUs of the critic, in MiB.
        left_mib: usize,
    },
    /// A precision other than bf16 was configured on a GPU.
    #[error("a GPU computes in bf16; expected no other precision to be asked for")]
    GpuPrecision,
}

impl From<candle_core::Error> for LoadError {
    /// An error of a GPU that `gpu_result` has wrapped as one of the tensor library becomes [`LoadError::Gpu`] again.
    fn from(error: candle_core::Error) -> Self {
        match error {
            candle_core::Error::Cuda(cause) => match cause.downcast::<kernels_cuda::Error>() {
                Ok(cause) => Self::Gpu(*cause),
                Err(cause) => Self::Tensor(candle_core::Error::Cuda(cause)),
            },
            other => Self::Tensor(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu_result;

    #[test]
    fn a_gpu_that_is_full_is_no_failure_of_the_tensor_library() {
        let full = gpu_result::<()>(Err(kernels_cuda::Error::OutOfMemory { bytes: 7 })).unwrap_err();
        assert!(full.to_string().contains("no room for another 7 bytes"), "{full}");
        let full = LoadError::from(full);
        assert!(matches!(full, LoadError::Gpu(kernels_cuda::Error::OutOfMemory { bytes: 7 })), "{full}");
        assert!(matches!(LoadError::from(candle_core::Error::UnwrapNone), LoadError::Tensor(_)));
    }
}
