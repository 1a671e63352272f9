//! Stores files of clients, and batches with the results of their lines, on disk.
//!
//! Records are rows of one SQLite database, whose transactions are durable when they end. Contents of files are files
//! beside it, because they are read and written in chunks and never held in memory as a whole: each is written under
//! a temporary name, synced, renamed, and only then recorded, so that a record always has its content. Results of a
//! batch's lines are rows until the batch ends, since a row exists once or not at all, whenever the process is
//! killed. `crash_record.rs` records what was running when the process died. All functions block.

mod batches;
mod contents;
mod crash_record;
mod error;
mod files;
mod record;
mod results;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, ErrorCode};

pub use batches::{Ended, NewBatch};
pub use contents::{Incoming, StoreQuota};
pub use crash_record::{Name, RunningRecord, SuspectRecord};
pub use error::StoreError;
pub use files::{Figures, FilePage, NewFile, Order};
pub use record::{Batch, BatchState, BatchUsage, Counts, FileRecord, LineError, Purpose};
pub use results::{LineResult, ResultFiles, ResultKind};

/// How long to wait for the database while another process that is just ending holds it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// The size to which the write-ahead log of the database is truncated when it is reset.
const MAX_IDLE_LOG_BYTES: i64 = 4 << 20;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS files (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
);
CREATE INDEX IF NOT EXISTS files_of_owner ON files (owner, number);
CREATE INDEX IF NOT EXISTS files_by_content ON files (owner, sha256);
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    input_file TEXT NOT NULL,
    completion_window TEXT NOT NULL,
    metadata TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    in_progress_at INTEGER, finalizing_at INTEGER, completed_at INTEGER, failed_at INTEGER,
    expired_at INTEGER, cancelling_at INTEGER, cancelled_at INTEGER,
    total INTEGER NOT NULL DEFAULT 0, completed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0, cached_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0, reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    errors TEXT NOT NULL DEFAULT '[]',
    output_file TEXT, error_file TEXT
);
CREATE INDEX IF NOT EXISTS batches_of_owner ON batches (owner, number);
CREATE INDEX IF NOT EXISTS batches_by_state ON batches (state);
CREATE TABLE IF NOT EXISTS results (
    batch TEXT NOT NULL,
    line INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (batch, line)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS begun (
    owner TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    batch TEXT NOT NULL,
    PRIMARY KEY (owner, idempotency_key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bystanders (
    name BLOB PRIMARY KEY,
    deaths INTEGER NOT NULL,
    was_alone INTEGER NOT NULL,
    died_at INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = 1;
";

/// How much is stored, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of a client's file, in bytes.
    pub max_file_bytes: u64,
    /// Maximum bytes of all files together. Files that batches write are counted, but never refused.
    pub max_stored_bytes: u64,
    /// Maximum number of files of all clients together.
    pub max_files: u64,
    /// Lifetime of files, and of batches after their end, in seconds; `None` for unlimited.
    pub keep_for_s: Option<i64>,
}

/// Files and batches in one folder, which one process at a time may open.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    limits: Limits,
    /// One connection behind a mutex: a write waits for the disk anyway, and SQLite allows only one at a time.
    database: Mutex<Connection>,
    /// Bytes of files that are being written.
    incoming: AtomicU64,
    clock: Clock,
}

/// The time of day when the store was opened, advanced by a monotonic clock: if the machine's clock jumps, files
/// neither expire early nor stay forever.
#[derive(Debug)]
struct Clock {
    /// Seconds since the Unix epoch.
    start_s: i64,
    since: Instant,
}

impl Clock {
    fn start() -> Self {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start_s: i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX), since: Instant::now() }
    }

    fn now(&self) -> i64 {
        self.start_s.saturating_add(i64::try_from(self.since.elapsed().as_secs()).unwrap_or(i64::MAX))
    }
}

impl Store {
    /// Opens the store in `folder`, which is created if it does not exist, and removes what a killed process left
    /// incomplete.
    ///
    /// # Errors
    /// [`StoreError::Folder`] when the folder cannot be used, [`StoreError::Taken`] when another process has opened it,
    /// [`StoreError::Lost`] when its database is missing, or an error of the database.
    pub fn open(folder: &Path, limits: Limits) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Folder { path: folder.to_owned(), source };
        for part in ["files", "incoming"] {
            fs::create_dir_all(folder.join(part)).map_err(failed)?;
        }
        restrict(folder).map_err(failed)?;
        let database = connect(&folder.join("gavel.sqlite")).map_err(|error| match error {
            rusqlite::Error::SqliteFailure(failure, _) if failure.code == ErrorCode::DatabaseBusy => {
                StoreError::Taken { path: folder.to_owned() }
            }
            other => other.into(),
        })?;
        let version: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
        // Contents without a record are removed below. In a database that has just been created, that would be all of
        // them.
        if version == 0 && fs::read_dir(folder.join("files")).map_err(failed)?.next().is_some() {
            return Err(StoreError::Lost { path: folder.to_owned() });
        }
        database.execute_batch(SCHEMA)?;
        let store = Self {
            folder: folder.to_owned(),
            limits,
            database: Mutex::new(database),
            incoming: AtomicU64::new(0),
            clock: Clock::start(),
        };
        store.remove_unrecorded()?;
        Ok(store)
    }

    /// The limits of the store.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Seconds since the Unix epoch, counted from the time of day when the store was opened.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        // A thread that panicked while it held the lock left a transaction that was rolled back.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(path)?;
    database.busy_timeout(BUSY_TIMEOUT)?;
    // So that the space of deleted results can be returned to the disk; this takes effect in a new database only.
    database.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // The lock is held until the process ends, so that two servers never run the same batch.
    database.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    // What a client received a response for must survive a power failure.
    database.pragma_update(None, "synchronous", "FULL")?;
    database.pragma_update(None, "journal_size_limit", MAX_IDLE_LOG_BYTES)?;
    Ok(database)
}

/// Gives access to the folder to the server's user alone, since it has data of clients.
fn restrict(folder: &Path) -> std::io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// An id that cannot be guessed: the prefix and 128 random bits.
fn fresh_id(prefix: &str) -> String {
    format!("{prefix}{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests;
