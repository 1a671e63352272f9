//! Why a labelled set cannot be read or used.

use std::path::PathBuf;

/// Why a labelled set cannot be read or used.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error that the system returned.
        source: std::io::Error,
    },
    /// A row is not JSON: the file is neither a JSON array nor JSON lines.
    #[error("row {row} of {} is no JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The number of the row, from 1.
        row: usize,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// The form cannot be detected from the first row.
    #[error("the form of {} is not known from its first row; name it with --form", .0.display())]
    UnknownForm(PathBuf),
    /// No row has a label.
    #[error("{} has no row that can be used; the first one was left out since {reason}", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
        /// Why the first row was left out.
        reason: String,
    },
}
