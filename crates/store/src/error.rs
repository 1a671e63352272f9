//! The errors of the store.

use std::{io, path::PathBuf};

use rusqlite::ErrorCode;

/// Why something could not be stored or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be used.
    #[error("the data folder {} cannot be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another process has opened the folder.
    #[error("the data folder {} is used by another process", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// There are contents but no database that records them: it was lost, or not moved along with them.
    #[error("the data folder {} has files and no database that knows them; put gavel.sqlite back, or clear the folder", path.display())]
    Lost {
        /// The folder.
        path: PathBuf,
    },
    /// The disk is full, read-only, or fails: the request is not at fault, and may succeed later.
    #[error("the disk of files and batches cannot be used")]
    Disk(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database failed.
    #[error("the database of files and batches failed")]
    Database(#[source] rusqlite::Error),
    /// The content of a file is missing.
    #[error("the content of a file is not there")]
    Content(#[source] io::Error),
    /// A record is not in the format of this version.
    #[error("a record cannot be read")]
    Record(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A line of the input of a batch is invalid, although all lines were valid when the batch was begun.
    #[error("a line of a batch is no longer valid: {0}")]
    InputLine(String),
    /// A file exceeds the maximum size of a file.
    #[error("a file may have {limit_bytes} bytes at most")]
    FileTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// All files together would exceed the maximum number of bytes.
    #[error("all files together may have {limit_bytes} bytes at most, and there is no room for this one")]
    Full {
        /// The limit.
        limit_bytes: u64,
    },
    /// The files of this owner would exceed the owner's share of the bytes.
    #[error("your files together may have {limit_bytes} bytes at most, and there is no room for this one")]
    PartFull {
        /// The limit.
        limit_bytes: u64,
    },
    /// This owner has the maximum number of files.
    #[error("at most {limit} of your files are kept, and so many there are")]
    PartTooManyFiles {
        /// The limit.
        limit: u64,
    },
    /// The store has the maximum number of files.
    #[error("at most {limit} files are kept, and so many there are")]
    TooManyFiles {
        /// The limit.
        limit: u64,
    },
    /// Too many batches are unfinished, of this owner or of all.
    #[error("at most {limit} batches may be without an end, and so many there are")]
    TooManyBatches {
        /// The limit.
        limit: u64,
    },
    /// The owner has no such file.
    #[error("there is no file {id:?}")]
    UnknownFile {
        /// The requested id.
        id: String,
    },
    /// The owner has no such batch.
    #[error("there is no batch {id:?}")]
    UnknownBatch {
        /// The requested id.
        id: String,
    },
    /// The owner began a different batch with this key.
    #[error("another batch was begun by the idempotency key {key:?}")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The file is the input of an unfinished batch.
    #[error("the file {id:?} is the input of a batch that has not ended")]
    FileInUse {
        /// The id of the file.
        id: String,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // A value that is none of this version.
        if let rusqlite::Error::FromSqlConversionFailure(_, _, cause) = error {
            return Self::Record(cause);
        }
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen,
            ) => Self::Disk(error.into()),
            _ => Self::Database(error),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Content(error),
            _ => Self::Disk(error.into()),
        }
    }
}
