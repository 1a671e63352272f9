//! The records of files and batches.

use rusqlite::{
    Row,
    types::{FromSql, FromSqlError, FromSqlResult, ValueRef},
};
use serde::{Deserialize, Serialize};

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The lines of a batch.
    Batch,
    /// Results of a batch.
    BatchOutput,
    /// An image that requests name by its id.
    Vision,
    /// Any data that a client uses in its requests, also an image.
    UserData,
    /// Stored for clients of other servers; it has no use here.
    Assistants,
    /// Stored for clients of other servers; it has no use here.
    FineTune,
    /// Stored for clients of other servers; it has no use here.
    Evals,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Self; 7] = [
        Self::Batch,
        Self::BatchOutput,
        Self::Vision,
        Self::UserData,
        Self::Assistants,
        Self::FineTune,
        Self::Evals,
    ];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::BatchOutput => "batch_output",
            Self::Vision => "vision",
            Self::UserData => "user_data",
            Self::Assistants => "assistants",
            Self::FineTune => "fine-tune",
            Self::Evals => "evals",
        }
    }

    /// The purpose with this name; `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name)
    }
}

/// The record of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Its id, which begins with `file-`.
    pub id: String,
    /// The name that its owner gave it.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its size, in bytes.
    pub bytes: i64,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// When it was created, in seconds since the Unix epoch.
    pub created_at: i64,
    /// When it expires, in seconds since the Unix epoch; `None` for never.
    pub expires_at: Option<i64>,
}

impl FileRecord {
    pub(crate) const COLUMNS: &str = "id, name, purpose, bytes, sha256, created_at, expires_at";

    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let purpose: String = row.get("purpose")?;
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            // A purpose of a later version is unknown here: such a file is only stored.
            purpose: Purpose::parse(&purpose).unwrap_or(Purpose::Assistants),
            bytes: row.get("bytes")?,
            sha256: row.get("sha256")?,
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
        })
    }
}

/// The state of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchState {
    /// Its input is being checked.
    Validating,
    /// Its lines are being run.
    InProgress,
    /// The files of its results are being written.
    Finalizing,
    /// It has ended, with all results.
    Completed,
    /// It has ended since its input is invalid; no line was run.
    Failed,
    /// It has ended, with the results of its time limit.
    Expired,
    /// It is being cancelled.
    Cancelling,
    /// It has ended, with the results from before it was cancelled.
    Cancelled,
}

impl BatchState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Validating,
        Self::InProgress,
        Self::Finalizing,
        Self::Completed,
        Self::Failed,
        Self::Expired,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the state is final.
    pub fn is_end(self) -> bool {
        match self {
            Self::Validating | Self::InProgress | Self::Finalizing | Self::Cancelling => false,
            Self::Completed | Self::Failed | Self::Expired | Self::Cancelled => true,
        }
    }

    /// The names of the states that `wanted` selects, as a list in SQL.
    pub(crate) fn sql_names(wanted: impl Fn(Self) -> bool) -> String {
        let picked = Self::ALL.into_iter().filter(|state| wanted(*state));
        picked.map(|state| format!("'{}'", state.as_str())).collect::<Vec<_>>().join(", ")
    }
}

impl FromSql for BatchState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        let found = Self::ALL.into_iter().find(|state| state.as_str() == name);
        found.ok_or_else(|| FromSqlError::Other(format!("there is no state {name:?}").into()))
    }
}

/// An error in the input of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineError {
    /// The error code, for programs.
    pub code: String,
    /// The line, counted from 1; `None` for an error of the whole input.
    pub line: Option<i64>,
    /// The message, for people.
    pub message: String,
    /// The part of the line that is wrong, if it is known.
    pub param: Option<String>,
}

/// The errors of a batch as they are stored: JSON.
struct LineErrors(Vec<LineError>);

impl FromSql for LineErrors {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}

/// Numbers of lines of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All lines.
    pub total: i64,
    /// Lines that were answered without an error.
    pub completed: i64,
    /// Lines whose answer is an error.
    pub failed: i64,
}

/// Numbers of tokens of lines of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchUsage {
    /// Tokens of prompts.
    pub input_tokens: i64,
    /// Tokens of prompts that were cached from earlier ones.
    pub cached_tokens: i64,
    /// Tokens of replies.
    pub output_tokens: i64,
    /// Tokens of replies that are reasoning.
    pub reasoning_tokens: i64,
}

/// The record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its id, which begins with `batch_`.
    pub id: String,
    /// Its owner.
    pub owner: String,
    /// The route of its lines.
    pub endpoint: String,
    /// The id of the file with its lines.
    pub input_file: String,
    /// Its time limit, as its owner wrote it.
    pub completion_window: String,
    /// The metadata of its owner, as JSON.
    pub metadata: String,
    /// The name of the critic that runs it.
    pub model: String,
    /// Its state.
    pub state: BatchState,
    /// When it was begun, in seconds since the Unix epoch.
    pub created_at: i64,
    /// When its time limit passes, in seconds since the Unix epoch.
    pub expires_at: i64,
    /// When it entered each of its states, in seconds since the Unix epoch.
    pub times: Vec<(BatchState, i64)>,
    /// Numbers of its lines.
    pub counts: Counts,
    /// Numbers of tokens so far.
    pub usage: BatchUsage,
    /// The errors in its input.
    pub errors: Vec<LineError>,
    /// The id of the file of answers, if it has one.
    pub output_file: Option<String>,
    /// The id of the file of answers that are errors, if it has one.
    pub error_file: Option<String>,
}

impl Batch {
    pub(crate) const COLUMNS: &str = "id, owner, endpoint, input_file, completion_window, metadata, model, state, created_at, \
         expires_at, total, completed, failed, input_tokens, cached_tokens, output_tokens, reasoning_tokens, errors, \
         output_file, error_file, in_progress_at, finalizing_at, completed_at, failed_at, expired_at, cancelling_at, \
         cancelled_at";

    /// The states that have a time.
    const TIMED: [BatchState; 7] = [
        BatchState::InProgress,
        BatchState::Finalizing,
        BatchState::Completed,
        BatchState::Failed,
        BatchState::Expired,
        BatchState::Cancelling,
        BatchState::Cancelled,
    ];

    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut times = Vec::new();
        for state in Self::TIMED {
            if let Some(time) = row.get(format!("{}_at", state.as_str()).as_str())? {
                times.push((state, time));
            }
        }
        let LineErrors(errors) = row.get("errors")?;
        Ok(Self {
            id: row.get("id")?,
            owner: row.get("owner")?,
            endpoint: row.get("endpoint")?,
            input_file: row.get("input_file")?,
            completion_window: row.get("completion_window")?,
            metadata: row.get("metadata")?,
            model: row.get("model")?,
            state: row.get("state")?,
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
            times,
            counts: Counts {
                total: row.get("total")?,
                completed: row.get("completed")?,
                failed: row.get("failed")?,
            },
            usage: BatchUsage {
                input_tokens: row.get("input_tokens")?,
                cached_tokens: row.get("cached_tokens")?,
                output_tokens: row.get("output_tokens")?,
                reasoning_tokens: row.get("reasoning_tokens")?,
            },
            errors,
            output_file: row.get("output_file")?,
            error_file: row.get("error_file")?,
        })
    }

    /// When it entered a state, in seconds since the Unix epoch; `None` if it never did.
    pub fn time(&self, state: BatchState) -> Option<i64> {
        self.times.iter().find(|(found, _)| *found == state).map(|(_, time)| *time)
    }
}
