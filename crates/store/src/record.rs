//! What is known about files and batches.

use rusqlite::Row;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The lines of a batch.
    Batch,
    /// What a batch wrote.
    BatchOutput,
    /// An image that is named by its id.
    Vision,
    /// Whatever a client sends with its requests; an image, too.
    UserData,
    /// Kept for clients that know other servers.
    Assistants,
    /// The same.
    FineTune,
    /// The same.
    Evals,
}

impl Purpose {
    /// All of them.
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

    /// The purpose of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name)
    }
}

/// A file that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Its id, which begins with `file-`.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its size.
    pub bytes: i64,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// Seconds since 1970.
    pub created_at: i64,
    /// When it is gone, in seconds since 1970.
    pub expires_at: Option<i64>,
}

impl FileRecord {
    pub(crate) const COLUMNS: &str = "id, name, purpose, bytes, sha256, created_at, expires_at, number";

    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let purpose: String = row.get(2)?;
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            // A purpose of a later version is none of ours: such a file is only kept.
            purpose: Purpose::parse(&purpose).unwrap_or(Purpose::Assistants),
            bytes: row.get(3)?,
            sha256: row.get(4)?,
            created_at: row.get(5)?,
            expires_at: row.get(6)?,
        })
    }
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchState {
    /// Its lines are looked at.
    Validating,
    /// Its lines are run.
    InProgress,
    /// Its results are written.
    Finalizing,
    /// It has ended, with all results.
    Completed,
    /// Its input makes no sense; nothing was run.
    Failed,
    /// It has ended, with what was done in its time.
    Expired,
    /// It is being stopped.
    Cancelling,
    /// It has ended, with what was done before it was stopped.
    Cancelled,
}

impl BatchState {
    /// All of them.
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

    /// Whether nothing more happens to it.
    pub fn is_end(self) -> bool {
        match self {
            Self::Validating | Self::InProgress | Self::Finalizing | Self::Cancelling => false,
            Self::Completed | Self::Failed | Self::Expired | Self::Cancelled => true,
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Self, StoreError> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == name);
        found.ok_or_else(|| StoreError::Record(format!("there is no state {name:?}")))
    }
}

/// What is wrong with a line of a batch's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineError {
    /// For programs.
    pub code: String,
    /// The line, counted from 1.
    pub line: Option<i64>,
    /// For people.
    pub message: String,
    /// The part of the line that is to blame.
    pub param: Option<String>,
}

/// Lines of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub total: i64,
    /// Those that were answered.
    pub completed: i64,
    /// Those whose answer is an error.
    pub failed: i64,
}

/// Tokens of a batch's lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchUsage {
    /// Of prompts.
    pub input_tokens: i64,
    /// Those of them that were kept from earlier ones.
    pub cached_tokens: i64,
    /// Of replies.
    pub output_tokens: i64,
    /// Those of them that are thoughts.
    pub reasoning_tokens: i64,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its id, which begins with `batch_`.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// The route that its lines go to.
    pub endpoint: String,
    /// The file that has its lines.
    pub input_file: String,
    /// The time it has, as its owner wrote it.
    pub completion_window: String,
    /// What its owner noted, as JSON.
    pub metadata: String,
    /// The critic that runs it.
    pub model: String,
    /// Where it stands.
    pub state: BatchState,
    /// Seconds since 1970.
    pub created_at: i64,
    /// When its time is over, in seconds since 1970.
    pub expires_at: i64,
    /// When it came into which state, in seconds since 1970.
    pub times: Vec<(BatchState, i64)>,
    /// Its lines.
    pub counts: Counts,
    /// Tokens so far.
    pub usage: BatchUsage,
    /// What is wrong with its input.
    pub errors: Vec<LineError>,
    /// The file of answers.
    pub output_file: Option<String>,
    /// The file of answers that are errors.
    pub error_file: Option<String>,
}

impl Batch {
    pub(crate) const COLUMNS: &str = "id, owner, endpoint, input_file, completion_window, metadata, model, state, created_at, \
         expires_at, total, completed, failed, input_tokens, cached_tokens, output_tokens, reasoning_tokens, errors, \
         output_file, error_file, in_progress_at, finalizing_at, completed_at, failed_at, expired_at, cancelling_at, \
         cancelled_at";

    /// The states that have a time, in the order of their columns.
    const TIMED: [BatchState; 7] = [
        BatchState::InProgress,
        BatchState::Finalizing,
        BatchState::Completed,
        BatchState::Failed,
        BatchState::Expired,
        BatchState::Cancelling,
        BatchState::Cancelled,
    ];

    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Result<Self, StoreError>> {
        let (state, errors): (String, String) = (row.get(7)?, row.get(17)?);
        let state = match BatchState::parse(&state) {
            Ok(state) => state,
            Err(error) => return Ok(Err(error)),
        };
        let errors = match serde_json::from_str(&errors) {
            Ok(errors) => errors,
            Err(error) => return Ok(Err(StoreError::Record(error.to_string()))),
        };
        let mut times = Vec::new();
        for (index, state) in Self::TIMED.into_iter().enumerate() {
            if let Some(time) = row.get(20 + index)? {
                times.push((state, time));
            }
        }
        Ok(Ok(Self {
            id: row.get(0)?,
            owner: row.get(1)?,
            endpoint: row.get(2)?,
            input_file: row.get(3)?,
            completion_window: row.get(4)?,
            metadata: row.get(5)?,
            model: row.get(6)?,
            state,
            created_at: row.get(8)?,
            expires_at: row.get(9)?,
            times,
            counts: Counts { total: row.get(10)?, completed: row.get(11)?, failed: row.get(12)? },
            usage: BatchUsage {
                input_tokens: row.get(13)?,
                cached_tokens: row.get(14)?,
                output_tokens: row.get(15)?,
                reasoning_tokens: row.get(16)?,
            },
            errors,
            output_file: row.get(18)?,
            error_file: row.get(19)?,
        }))
    }

    /// When it came into a state.
    pub fn time(&self, state: BatchState) -> Option<i64> {
        self.times.iter().find(|(found, _)| *found == state).map(|(_, time)| *time)
    }
}
