//! Why a checkpoint cannot be served or written: one sentence that names the file, what is wrong and what was expected.

use crate::hub::HubError;

/// A checkpoint that cannot be loaded or written.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that every checkpoint has is absent.
    #[error("{file} is missing from {folder}; a checkpoint needs {expected}")]
    MissingFile {
        /// Name of the file.
        file: String,
        /// Where it was looked for.
        folder: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A file could not be read.
    #[error("{file} cannot be read")]
    Read {
        /// Path of the file.
        file: String,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// A file could not be written.
    #[error("{file} cannot be written")]
    Write {
        /// Path of the file.
        file: String,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// A file that was to be made is there already.
    #[error("{file} is there already; expected a new name, so that nothing is lost")]
    Exists {
        /// Path of the file.
        file: String,
    },
    /// A JSON file does not hold what it should.
    #[error("{file} is not a valid {expected}")]
    Json {
        /// Path of the file.
        file: String,
        /// What it should be.
        expected: &'static str,
        /// Where the parser stopped.
        #[source]
        cause: serde_json::Error,
    },
    /// A file of weights does not agree with its own header.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// Path of the file.
        file: String,
        /// What does not agree.
        reason: String,
    },
    /// A tensor is absent.
    #[error("tensor {tensor} is missing from {file}; expected shape {expected:?}")]
    MissingTensor {
        /// Its name in this checkpoint's layout.
        tensor: String,
        /// The file or folder that should hold it.
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
    /// A tensor is in two files.
    #[error("tensor {tensor} is in {} and in {}; expected one file that has it", files[0], files[1])]
    Twice {
        /// Its name.
        tensor: String,
        /// The files.
        files: [String; 2],
    },
    /// A weight is too large for the type that it should get.
    #[error("tensor {tensor} has a weight that is too large for f16; expected another form")]
    TooLarge {
        /// Its name.
        tensor: String,
    },
    /// A tensor is stored in a form that is not read.
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
    /// A part of a tensor would begin or end within a block.
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
        /// Which weights of each row the part has.
        columns: std::ops::Range<usize>,
    },
    /// The decoder was to be split over no rank at all.
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
    /// `config.json` names an architecture that is not known.
    #[error("{file} names the architecture {found:?}; expected one of {expected:?}")]
    UnknownArchitecture {
        /// Path of the file.
        file: String,
        /// What it names.
        found: String,
        /// What is known.
        expected: Vec<&'static str>,
    },
    /// A configuration value is absent, out of range, or asks for something that is not implemented.
    #[error("{file}: {key} is {found}; expected {expected}")]
    Unsupported {
        /// Path of the file.
        file: String,
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// The tokenizer cannot be built.
    #[error("{file} is not a tokenizer that can be read: {reason}")]
    Tokenizer {
        /// Path of the file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The vision tower that the checkpoint refers to cannot be had.
    #[error("the vision tower {tower:?} that {file} refers to cannot be had")]
    VisionTower {
        /// What `mm_vision_tower` says.
        tower: String,
        /// Path of the file.
        file: String,
        /// Why not.
        #[source]
        cause: HubError,
    },
    /// The tensor library failed.
    #[error("the tensor library failed while loading")]
    Tensor(#[from] candle_core::Error),
    /// The GPU failed, or is not there.
    #[error("the GPU cannot be used")]
    Gpu(#[from] kernels_cuda::Error),
    /// Contexts were to be longer than the checkpoint's, or without a token.
    #[error(
        "a context of {asked} tokens was asked for; expected 1 to {has}, for which the checkpoint was made"
    )]
    ContextLength {
        /// What was asked for.
        asked: usize,
        /// What the checkpoint has.
        has: usize,
    },
    /// The cache of keys and values was to be larger than what is left of a GPU.
    #[error(
        "the GPU has {left_mib} MiB left for the cache of keys and values; expected no more than that to be asked for, and not {asked_mib} MiB"
    )]
    CacheTooLarge {
        /// What was asked for.
        asked_mib: usize,
        /// What is left when everything else has its memory.
        left_mib: usize,
    },
    /// Another number type was asked for on a GPU.
    #[error("a GPU computes in bf16; expected no other precision to be asked for")]
    GpuPrecision,
}
