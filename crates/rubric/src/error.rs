//! Why a rubric or a profile cannot be used.

use std::path::PathBuf;

use crate::Kind;

/// Why a rubric or a profile could not be loaded or does not fit a case.
#[derive(Debug, thiserror::Error)]
pub enum RubricError {
    /// No rubric of this name is known.
    #[error("there is no rubric named {0:?}")]
    Unknown(String),
    /// The rubric is for another number of responses.
    #[error("rubric {rubric:?} is {rubric_kind}; the case is {case_kind}")]
    WrongKind {
        /// Name of the rubric.
        rubric: String,
        /// What the rubric is for.
        rubric_kind: Kind,
        /// What the case has.
        case_kind: Kind,
    },
    /// The critic has no such prompt format.
    #[error("there is no format named {name:?} for this kind; the critic has {known:?}")]
    UnknownFormat {
        /// What was asked for.
        name: String,
        /// The formats of the kind.
        known: Vec<String>,
    },
    /// A rubric contradicts itself.
    #[error("rubric {name:?} is not valid: {reason}")]
    InvalidRubric {
        /// Name of the rubric.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A critic's profile contradicts itself or the rubrics.
    #[error("critic profile {name:?} is not valid: {reason}")]
    InvalidProfile {
        /// Name of the profile.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of the library could not be read.
    #[error("{} cannot be read", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of the library is not TOML of the right form.
    #[error("{file} does not have the form of its kind")]
    Form {
        /// Name of the file.
        file: String,
        /// What is wrong and where.
        #[source]
        source: Box<toml::de::Error>,
    },
}
