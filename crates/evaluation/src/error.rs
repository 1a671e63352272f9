//! Why a labelled set cannot be read or asked about.

use std::path::PathBuf;

/// Why a labelled set cannot be read or asked about.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is neither JSON nor JSON lines.
    #[error("row {row} of {} is no JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The row, from 1.
        row: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Nothing in the rows tells of what form they are.
    #[error("the form of {} is not known from its first row; name it with --form", .0.display())]
    UnknownForm(PathBuf),
    /// Not one row has a label.
    #[error("{} has no row that can be used; the first one was left out since {reason}", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
        /// Why the first row was left out.
        reason: String,
    },
}
