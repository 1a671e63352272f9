//! Why no critic can be made, and the exit status that follows.

use critic_candle::{HubError, LoadError};
use judge::{BackendError, RubricError};

use crate::process::exit::Status;

/// Why no critic can be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    /// Rubrics or critic profiles are invalid.
    #[error(transparent)]
    Rubrics(#[from] RubricError),
    /// `--quantize` on the CPU, with a precision that is not the one it is for.
    #[error("--quantize is for computing in 32-bit floats: leave --precision out")]
    QuantizedPrecision,
    /// The model is `random:` and an unknown shape.
    #[error("{model}: there is no such shape")]
    UnknownShape { model: String },
    /// The vocabulary for random weights cannot be read.
    #[error(transparent)]
    Vocabulary(Box<LoadError>),
    /// The model is the path of a file.
    #[error(
        "{model} is a file: a checkpoint is a folder with config.json and weights, or the id of a repository on the hub"
    )]
    File { model: String },
    /// The model can only be the path of a folder, and there is none.
    #[error("there is no such folder: {model}")]
    NoFolder { model: String },
    /// The model cannot be found in the cache or downloaded.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The checkpoint is wrong itself, or what it needs is missing.
    #[error("the critic {name:?} cannot be loaded")]
    Load { name: String, source: Box<LoadError> },
    /// The checkpoint was loaded, but its first step fails or has results that are not finite.
    #[error("the critic {name:?} cannot run")]
    Run { name: String, source: BackendError },
}

impl BootError {
    /// The exit status; `None` for the general one, where the arguments of a command are wrong.
    pub(crate) fn status(&self) -> Option<Status> {
        match self {
            Self::Hub(error) => Some(status_of_hub(error)),
            Self::Load { source, .. } => Some(status_of_load(source)),
            Self::File { .. } | Self::NoFolder { .. } | Self::Run { .. } => Some(Status::Misconfigured),
            Self::Rubrics(_) | Self::QuantizedPrecision | Self::UnknownShape { .. } | Self::Vocabulary(_) => {
                None
            }
        }
    }
}

/// The exit status for a checkpoint that cannot be loaded: it is wrong itself, or a resource that it needs is missing.
fn status_of_load(error: &LoadError) -> Status {
    match error {
        LoadError::Gpu(_) => Status::Unavailable,
        LoadError::Thread { .. } => Status::NoResources,
        LoadError::VisionTower { cause, .. } => status_of_hub(cause),
        LoadError::MissingFile { .. }
        | LoadError::Read { .. }
        | LoadError::Write { .. }
        | LoadError::Exists { .. }
        | LoadError::Json { .. }
        | LoadError::Damaged { .. }
        | LoadError::MissingTensor { .. }
        | LoadError::WrongShape { .. }
        | LoadError::MoreLayers { .. }
        | LoadError::Twice { .. }
        | LoadError::TooLarge { .. }
        | LoadError::WrongType { .. }
        | LoadError::CutBlock { .. }
        | LoadError::NoRanks
        | LoadError::NonFinite { .. }
        | LoadError::UnknownArchitecture { .. }
        | LoadError::Unsupported { .. }
        | LoadError::Tokenizer { .. }
        | LoadError::Tensor(_)
        | LoadError::ContextLength { .. }
        | LoadError::CacheTooLarge { .. }
        | LoadError::GpuPrecision => Status::Misconfigured,
    }
}

/// The exit status for a model that cannot be found in the cache or downloaded.
fn status_of_hub(error: &HubError) -> Status {
    match error {
        HubError::Unreachable { .. } | HubError::Answer { .. } | HubError::Damaged { .. } => {
            Status::Unavailable
        }
        HubError::NotAModel { .. }
        | HubError::NotARevision { .. }
        | HubError::TokenRequired { .. }
        | HubError::AccessDenied { .. }
        | HubError::NotFound { .. }
        | HubError::MissingFile { .. }
        | HubError::NotCached { .. }
        | HubError::Cache { .. } => Status::Misconfigured,
    }
}
