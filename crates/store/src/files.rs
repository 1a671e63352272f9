//! Files of clients: each belongs to its owner, and no other owner can find it.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::{
    Store,
    batches::unfinished_condition,
    contents::{Incoming, Settled},
    error::StoreError,
    record::{BatchState, FileRecord, Purpose},
};

/// The attributes of a new file.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Its owner.
    pub owner: String,
    /// The name that its owner gave it.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its lifetime in seconds, where that is shorter than the store's; `None` for the store's.
    pub expires_after_s: Option<i64>,
}

/// The order of a listing, by time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// Selects files for a listing.
#[derive(Debug, Clone)]
pub struct FilePage {
    /// Only files with this purpose; `None` for all.
    pub purpose: Option<Purpose>,
    /// Only files that follow the one with this id.
    pub after: Option<String>,
    /// Maximum number of files.
    pub limit: usize,
    /// The order of the files.
    pub order: Order,
}

/// How much is stored.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Number of batches in each state.
    pub batches: Vec<(BatchState, u64)>,
}

/// The SQL condition for a file that has not expired.
const ALIVE: &str = "(expires_at IS NULL OR expires_at > ?)";

impl Store {
    /// Stores a file that was completely written.
    ///
    /// # Errors
    /// When there is no room for a client's file any more, as in [`Incoming::begin`], or the disk fails.
    pub fn keep(&self, incoming: Incoming, new: &NewFile) -> Result<FileRecord, StoreError> {
        let quota = incoming.quota().cloned();
        let settled = incoming.settle()?;
        let mut database = self.database();
        let transaction = database.transaction()?;
        // Checked again, since others may have been stored while this one was written.
        if let Some(quota) = quota {
            self.room(&transaction, &quota, settled.bytes.unsigned_abs())?;
        }
        let record = self.record(&transaction, &settled, new)?;
        Settled::commit(transaction, [settled])?;
        Ok(record)
    }

    /// Writes the record of a content.
    pub(crate) fn record(
        &self,
        transaction: &Transaction<'_>,
        settled: &Settled,
        new: &NewFile,
    ) -> Result<FileRecord, StoreError> {
        let created_at = self.now();
        let lifetime = match (self.limits.keep_for_s, new.expires_after_s) {
            (Some(most), Some(asked)) => Some(most.min(asked)),
            (most, asked) => most.or(asked),
        };
        let record = FileRecord {
            id: settled.id.clone(),
            name: new.name.clone(),
            purpose: new.purpose,
            bytes: settled.bytes,
            sha256: settled.sha256.clone(),
            created_at,
            expires_at: lifetime.map(|lifetime| created_at.saturating_add(lifetime)),
        };
        transaction.execute(
            "INSERT INTO files (id, owner, name, purpose, bytes, sha256, created_at, expires_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                record.id,
                new.owner,
                record.name,
                record.purpose.as_str(),
                record.bytes,
                record.sha256,
                record.created_at,
                record.expires_at
            ],
        )?;
        Ok(record)
    }

    /// A file of `owner`.
    ///
    /// # Errors
    /// [`StoreError::UnknownFile`] when there is no file with this id, it has expired, or another owner has it.
    pub fn file(&self, owner: &str, id: &str) -> Result<FileRecord, StoreError> {
        let sql = format!("SELECT {} FROM files WHERE owner = ? AND id = ? AND {ALIVE}", FileRecord::COLUMNS);
        let found =
            self.database().query_row(&sql, params![owner, id, self.now()], FileRecord::read).optional()?;
        found.ok_or_else(|| StoreError::UnknownFile { id: id.to_owned() })
    }

    /// The newest image of `owner` whose content has this SHA-256, in lower-case hexadecimal.
    ///
    /// # Errors
    /// [`StoreError::UnknownFile`] when the owner has none.
    pub fn image_by_content(&self, owner: &str, sha256: &str) -> Result<FileRecord, StoreError> {
        let sql = format!(
            "SELECT {} FROM files WHERE owner = ? AND sha256 = ? AND purpose IN ('vision', 'user_data') AND {ALIVE} \
             ORDER BY number DESC LIMIT 1",
            FileRecord::COLUMNS
        );
        let found = self
            .database()
            .query_row(&sql, params![owner, sha256, self.now()], FileRecord::read)
            .optional()?;
        found.ok_or_else(|| StoreError::UnknownFile { id: format!("sha256:{sha256}") })
    }

    /// The selected files of `owner`, and whether more follow.
    ///
    /// # Errors
    /// [`StoreError::UnknownFile`] when `after` is not a file of the owner.
    pub fn files(&self, owner: &str, page: &FilePage) -> Result<(Vec<FileRecord>, bool), StoreError> {
        let database = self.database();
        let (way, is_behind, start) = match page.order {
            Order::Ascending => ("ASC", ">", 0),
            Order::Descending => ("DESC", "<", i64::MAX),
        };
        let start = match &page.after {
            None => start,
            Some(id) => {
                let sql = "SELECT number FROM files WHERE owner = ? AND id = ?";
                let found = database.query_row(sql, params![owner, id], |row| row.get(0)).optional()?;
                found.ok_or_else(|| StoreError::UnknownFile { id: id.clone() })?
            }
        };
        let sql = format!(
            "SELECT {} FROM files WHERE owner = ? AND {ALIVE} AND number {is_behind} ? AND (?4 IS NULL OR purpose = ?4) \
             ORDER BY number {way} LIMIT ?5",
            FileRecord::COLUMNS
        );
        let purpose = page.purpose.map(Purpose::as_str);
        // One more than the limit, to find out whether more follow.
        let most = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut statement = database.prepare(&sql)?;
        let rows = statement.query_map(params![owner, self.now(), start, purpose, most], FileRecord::read)?;
        let mut files: Vec<FileRecord> = rows.collect::<Result<_, _>>()?;
        let more = files.len() > page.limit;
        files.truncate(page.limit);
        Ok((files, more))
    }

    /// Removes a file of `owner`.
    ///
    /// # Errors
    /// [`StoreError::UnknownFile`], or [`StoreError::FileInUse`] while it is the input of an unfinished batch.
    pub fn delete_file(&self, owner: &str, id: &str) -> Result<(), StoreError> {
        self.file(owner, id)?;
        let database = self.database();
        let deleted = database.execute(
            &format!("DELETE FROM files WHERE owner = ? AND id = ? AND NOT {}", in_use()),
            params![owner, id],
        )?;
        drop(database);
        if deleted == 0 {
            return Err(StoreError::FileInUse { id: id.to_owned() });
        }
        self.remove_contents(&[id.to_owned()]);
        Ok(())
    }

    /// Removes expired files and batches, and returns free space of the database to the disk; returns the number of
    /// removed files.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sweep(&self) -> Result<usize, StoreError> {
        let database = self.database();
        let sql = format!("DELETE FROM files WHERE expires_at <= ? AND NOT {} RETURNING id", in_use());
        let mut statement = database.prepare(&sql)?;
        let gone: Vec<String> =
            statement.query_map([self.now()], |row| row.get(0))?.collect::<Result<_, _>>()?;
        drop(statement);
        if let Some(keep_for_s) = self.limits.keep_for_s {
            let ended = BatchState::sql_names(BatchState::is_end);
            let end_times = BatchState::ALL.into_iter().filter(|state| state.is_end());
            let end_times: String = end_times.map(|state| format!("{}_at, ", state.as_str())).collect();
            let sql = format!(
                "DELETE FROM batches WHERE state IN ({ended}) AND MAX(created_at, COALESCE({end_times}0)) <= ?"
            );
            database.execute(&sql, [self.now().saturating_sub(keep_for_s)])?;
            database.execute("DELETE FROM begun WHERE batch NOT IN (SELECT id FROM batches)", [])?;
        }
        {
            let mut statement = database.prepare("PRAGMA incremental_vacuum")?;
            let mut pages = statement.query([])?;
            while pages.next()?.is_some() {}
        }
        drop(database);
        self.remove_contents(&gone);
        Ok(gone.len())
    }

    /// How much is stored.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn figures(&self) -> Result<Figures, StoreError> {
        let database = self.database();
        let (files, bytes) = count(&database)?;
        let mut statement = database.prepare("SELECT state, COUNT(*) FROM batches GROUP BY state")?;
        let rows =
            statement.query_map([], |row| Ok((row.get::<_, BatchState>(0)?, row.get::<_, i64>(1)?)))?;
        let mut batches: Vec<(BatchState, u64)> =
            BatchState::ALL.into_iter().map(|state| (state, 0)).collect();
        for row in rows {
            let (state, count) = row?;
            batches
                .iter_mut()
                .filter(|(found, _)| *found == state)
                .for_each(|(_, found)| *found = count.unsigned_abs());
        }
        Ok(Figures { files, bytes, batches })
    }

    pub(crate) fn all_file_ids(&self) -> Result<HashSet<String>, StoreError> {
        let database = self.database();
        let mut statement = database.prepare("SELECT id FROM files")?;
        let ids = statement.query_map([], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }
}

/// Number of all files, and their bytes.
pub(crate) fn count(database: &Connection) -> rusqlite::Result<(u64, u64)> {
    database.query_row("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM files", [], counted)
}

/// Number of files of `owner`, and their bytes.
pub(crate) fn count_of(database: &Connection, owner: &str) -> rusqlite::Result<(u64, u64)> {
    let sql = "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM files WHERE owner = ?";
    database.query_row(sql, [owner], counted)
}

fn counted(row: &Row<'_>) -> rusqlite::Result<(u64, u64)> {
    Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()))
}

/// The SQL condition for a file that is the input of an unfinished batch.
fn in_use() -> String {
    let unfinished = unfinished_condition();
    format!("EXISTS (SELECT 1 FROM batches WHERE input_file = files.id AND {unfinished})")
}
