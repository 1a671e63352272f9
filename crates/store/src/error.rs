//! Why something could not be kept or found.

use std::{io, path::PathBuf};

use rusqlite::ErrorCode;

/// Why something could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be used.
    #[error("the data folder {} cannot be used", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process holds the folder.
    #[error("the data folder {} is used by another process", path.display())]
    Taken {
        /// Which one.
        path: PathBuf,
    },
    /// There are contents and no database that knows them: it is lost, or was never moved along.
    #[error("the data folder {} has files and no database that knows them; put gavel.sqlite back, or clear the folder", path.display())]
    Lost {
        /// Which one.
        path: PathBuf,
    },
    /// The disk is full, read-only, or fails: this is no fault of what was asked, and may be over soon.
    #[error("the disk of files and batches cannot be used")]
    Disk(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database failed.
    #[error("the database of files and batches failed")]
    Database(#[source] rusqlite::Error),
    /// The content of a file is not there.
    #[error("the content of a file is not there")]
    Content(#[source] io::Error),
    /// A record is not what this version writes.
    #[error("a record cannot be read: {0}")]
    Record(String),
    /// A file is larger than one may be.
    #[error("a file may have {limit_bytes} bytes at most")]
    FileTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// No more bytes can be kept.
    #[error("all files together may have {limit_bytes} bytes at most, and there is no room for this one")]
    Full {
        /// The limit.
        limit_bytes: u64,
    },
    /// No more bytes of this owner can be kept.
    #[error("your files together may have {limit_bytes} bytes at most, and there is no room for this one")]
    PartFull {
        /// The limit.
        limit_bytes: u64,
    },
    /// No more files of this owner can be kept.
    #[error("at most {limit} of your files are kept, and so many there are")]
    PartTooManyFiles {
        /// The limit.
        limit: u64,
    },
    /// No more files can be kept.
    #[error("at most {limit} files are kept, and so many there are")]
    TooManyFiles {
        /// The limit.
        limit: u64,
    },
    /// Too many batches have not ended.
    #[error("at most {limit} batches may be without an end, and so many there are")]
    TooManyBatches {
        /// The limit.
        limit: u64,
    },
    /// The owner has no such file.
    #[error("there is no file {id:?}")]
    UnknownFile {
        /// What was asked for.
        id: String,
    },
    /// The owner has no such batch.
    #[error("there is no batch {id:?}")]
    UnknownBatch {
        /// What was asked for.
        id: String,
    },
    /// The owner began another batch by this key.
    #[error("another batch was begun by the idempotency key {key:?}")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// A batch that has not ended reads the file.
    #[error("the file {id:?} is the input of a batch that has not ended")]
    FileInUse {
        /// Which one.
        id: String,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
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
