//! Maps failures of the store to API errors.

use axum::http::StatusCode as Status;
use store::StoreError;

use super::{ApiError, ErrorCode, quoted, sentence};

/// `Retry-After` in seconds if the disk is full or fails.
const DISK_RETRY_AFTER_S: u64 = 10;

impl From<StoreError> for ApiError {
    /// Maps a failure of the store to an API error. Exceeded limits are reported with the option that sets them.
    fn from(error: StoreError) -> Self {
        // These ids and keys are the client's.
        let message = match &error {
            StoreError::UnknownFile { id } => format!("There is no file {}.", quoted(id)),
            StoreError::UnknownBatch { id } => format!("There is no batch {}.", quoted(id)),
            StoreError::KeyReused { key } => {
                format!("Another batch was begun by the idempotency key {}.", quoted(key))
            }
            other => sentence(&other.to_string()),
        };
        let (status, code, option) = match &error {
            StoreError::UnknownFile { .. } | StoreError::UnknownBatch { .. } => {
                (Status::NOT_FOUND, ErrorCode::NotFound, None)
            }
            StoreError::KeyReused { .. } => (Status::CONFLICT, ErrorCode::IdempotencyKeyReused, None),
            StoreError::FileInUse { .. } => (Status::BAD_REQUEST, ErrorCode::FileInUse, None),
            StoreError::FileTooLarge { .. } => {
                (Status::PAYLOAD_TOO_LARGE, ErrorCode::FileTooLarge, Some("--max-file-mib"))
            }
            StoreError::Full { .. } => {
                (Status::PAYLOAD_TOO_LARGE, ErrorCode::StorageFull, Some("--max-stored-mib"))
            }
            StoreError::PartFull { .. } => {
                (Status::PAYLOAD_TOO_LARGE, ErrorCode::StorageFull, Some("stored_share of the key"))
            }
            StoreError::PartTooManyFiles { .. } => {
                (Status::PAYLOAD_TOO_LARGE, ErrorCode::TooManyFiles, Some("stored_share of the key"))
            }
            StoreError::TooManyFiles { .. } => {
                (Status::PAYLOAD_TOO_LARGE, ErrorCode::TooManyFiles, Some("--max-files"))
            }
            StoreError::TooManyBatches { .. } => (Status::TOO_MANY_REQUESTS, ErrorCode::TooManyBatches, None),
            StoreError::Disk(_) => (Status::SERVICE_UNAVAILABLE, ErrorCode::StorageUnavailable, None),
            StoreError::Folder { .. }
            | StoreError::Taken { .. }
            | StoreError::Lost { .. }
            | StoreError::Database(_)
            | StoreError::Content(_)
            | StoreError::Record(_)
            | StoreError::InputLine(_) => (Status::INTERNAL_SERVER_ERROR, ErrorCode::StorageFailed, None),
        };
        if status.is_server_error() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                code = code.as_str(),
                "files or batches failed"
            );
        }
        match option {
            Some(option) => Self::new(status, code, format!("{message} The server's option is {option}.")),
            None if status == Status::SERVICE_UNAVAILABLE => {
                Self::new(status, code, message).with_retry_after(DISK_RETRY_AFTER_S)
            }
            None => Self::new(status, code, message),
        }
    }
}
