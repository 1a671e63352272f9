//! The life cycle of batches.

use rusqlite::{OptionalExtension, params};

use crate::{
    Store,
    contents::{Incoming, Settled},
    error::StoreError,
    files::NewFile,
    fresh_id,
    record::{Batch, BatchState, LineError, Purpose},
    results::ResultFiles,
};

/// The limits of unfinished batches: each of them is checked again whenever something changes.
const MOST_UNFINISHED: UnfinishedLimits = UnfinishedLimits { of_owner: 100, all: 1000 };

/// Maximum numbers of unfinished batches.
struct UnfinishedLimits {
    of_owner: u64,
    all: u64,
}

/// The SQL condition for unfinished batches.
pub(crate) fn unfinished_condition() -> String {
    format!("state IN ({})", BatchState::sql_names(|state| !state.is_end()))
}

/// A batch to begin.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// Its owner.
    pub owner: String,
    /// The route of its lines.
    pub endpoint: String,
    /// The id of the file with its lines.
    pub input_file: String,
    /// Its time limit, as its owner wrote it.
    pub completion_window: String,
    /// Its time limit, in seconds.
    pub window_s: i64,
    /// The metadata of its owner, as JSON.
    pub metadata: String,
    /// The name of the critic that runs it.
    pub model: String,
    /// The key by which repeated requests of its owner begin it only once.
    pub idempotency_key: Option<String>,
}

/// How a batch that was run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All lines were run.
    Completed,
    /// Its time limit passed.
    Expired,
    /// Its owner cancelled it.
    Cancelled,
}

impl Ended {
    fn state(self) -> BatchState {
        match self {
            Self::Completed => BatchState::Completed,
            Self::Expired => BatchState::Expired,
            Self::Cancelled => BatchState::Cancelled,
        }
    }
}

impl Store {
    /// Begins a batch, or returns the one that its owner began with the same key.
    ///
    /// # Errors
    /// [`StoreError::TooManyBatches`], [`StoreError::UnknownFile`] when the owner has no such input file,
    /// [`StoreError::KeyReused`] when the key began a different batch, or when the disk fails.
    pub fn begin_batch(&self, new: &NewBatch) -> Result<Batch, StoreError> {
        if let Some(begun) = self.begun_batch(new)? {
            return Ok(begun);
        }
        let mut database = self.database();
        let unfinished = unfinished_condition();
        let sql =
            format!("SELECT COUNT(*) FILTER (WHERE owner = ?), COUNT(*) FROM batches WHERE {unfinished}");
        let (own, all): (i64, i64) =
            database.query_row(&sql, [&new.owner], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (count, limit) in [(own, MOST_UNFINISHED.of_owner), (all, MOST_UNFINISHED.all)] {
            if count.unsigned_abs() >= limit {
                return Err(StoreError::TooManyBatches { limit });
            }
        }
        let (id, created_at) = (fresh_id("batch_"), self.now());
        let transaction = database.transaction()?;
        let inserted = transaction.execute(
            "INSERT INTO batches (id, owner, endpoint, input_file, completion_window, metadata, model, state, created_at, \
             expires_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, 'validating', ?8, ?9 \
             WHERE EXISTS (SELECT 1 FROM files WHERE id = ?4 AND owner = ?2)",
            params![
                id,
                new.owner,
                new.endpoint,
                new.input_file,
                new.completion_window,
                new.metadata,
                new.model,
                created_at,
                created_at.saturating_add(new.window_s)
            ],
        )?;
        if inserted == 0 {
            return Err(StoreError::UnknownFile { id: new.input_file.clone() });
        }
        let begun = new.idempotency_key.as_ref().map_or(Ok(1), |key| {
            let sql = "INSERT OR IGNORE INTO begun (owner, idempotency_key, batch) VALUES (?, ?, ?)";
            transaction.execute(sql, params![new.owner, key, id])
        })?;
        if begun == 0 {
            // The same request ran twice concurrently, and the other one was first.
            drop(transaction);
            drop(database);
            return self.begin_batch(new);
        }
        transaction.commit()?;
        drop(database);
        self.batch(&new.owner, &id)
    }

    /// The batch that was begun with the same key, if there is one; it must be an equal batch.
    fn begun_batch(&self, new: &NewBatch) -> Result<Option<Batch>, StoreError> {
        let Some(key) = &new.idempotency_key else { return Ok(None) };
        let sql = "SELECT batch FROM begun WHERE owner = ? AND idempotency_key = ?";
        let id: Option<String> =
            self.database().query_row(sql, params![new.owner, key], |row| row.get(0)).optional()?;
        let Some(id) = id else { return Ok(None) };
        let batch = self.batch(&new.owner, &id)?;
        let same = batch.endpoint == new.endpoint
            && batch.input_file == new.input_file
            && batch.completion_window == new.completion_window
            && batch.metadata == new.metadata;
        if same { Ok(Some(batch)) } else { Err(StoreError::KeyReused { key: key.clone() }) }
    }

    /// A batch of `owner`.
    ///
    /// # Errors
    /// [`StoreError::UnknownBatch`] when there is no batch with this id, or another owner has it.
    pub fn batch(&self, owner: &str, id: &str) -> Result<Batch, StoreError> {
        let batch = self.any_batch(id)?;
        if batch.owner == owner { Ok(batch) } else { Err(StoreError::UnknownBatch { id: id.to_owned() }) }
    }

    /// A batch of any owner.
    ///
    /// # Errors
    /// [`StoreError::UnknownBatch`] when there is no batch with this id.
    pub fn any_batch(&self, id: &str) -> Result<Batch, StoreError> {
        let sql = format!("SELECT {} FROM batches WHERE id = ?", Batch::COLUMNS);
        let found = self.database().query_row(&sql, [id], Batch::read).optional()?;
        found.ok_or_else(|| StoreError::UnknownBatch { id: id.to_owned() })
    }

    /// At most `limit` batches of `owner` after the one with the id `after`, newest first; and whether more follow.
    ///
    /// # Errors
    /// [`StoreError::UnknownBatch`] when `after` is not a batch of the owner.
    pub fn batches(
        &self,
        owner: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Batch>, bool), StoreError> {
        let database = self.database();
        let start = match after {
            None => i64::MAX,
            Some(id) => {
                let sql = "SELECT number FROM batches WHERE owner = ? AND id = ?";
                let found = database.query_row(sql, params![owner, id], |row| row.get(0)).optional()?;
                found.ok_or_else(|| StoreError::UnknownBatch { id: id.to_owned() })?
            }
        };
        let columns = Batch::COLUMNS;
        let sql = format!(
            "SELECT {columns} FROM batches WHERE owner = ? AND number < ? ORDER BY number DESC LIMIT ?"
        );
        let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut statement = database.prepare(&sql)?;
        let rows = statement.query_map(params![owner, start, most], Batch::read)?;
        let mut batches: Vec<Batch> = rows.collect::<Result<_, _>>()?;
        let more = batches.len() > limit;
        batches.truncate(limit);
        Ok((batches, more))
    }

    /// The ids and owners of unfinished batches, oldest first.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn unfinished(&self) -> Result<Vec<(String, String)>, StoreError> {
        let database = self.database();
        let sql = format!("SELECT id, owner FROM batches WHERE {} ORDER BY number", unfinished_condition());
        let mut statement = database.prepare(&sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Records that the input of a batch is valid and has `total` lines, which run from now on; not if it is being
    /// cancelled.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin_lines(&self, id: &str, total: i64) -> Result<(), StoreError> {
        self.database().execute(
            "UPDATE batches SET state = 'in_progress', in_progress_at = ?, total = ? WHERE id = ? AND state = 'validating'",
            params![self.now(), total, id],
        )?;
        Ok(())
    }

    /// Ends a batch whose input is invalid.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn fail_batch(&self, id: &str, errors: &[LineError]) -> Result<(), StoreError> {
        let errors = serde_json::to_string(errors).map_err(|error| StoreError::Record(error.into()))?;
        self.database().execute(
            "UPDATE batches SET state = 'failed', failed_at = ?, errors = ? WHERE id = ? AND state IN ('validating', \
             'in_progress')",
            params![self.now(), errors, id],
        )?;
        Ok(())
    }

    /// Begins to cancel a batch of `owner`. A batch that has ended, or whose results are being written, stays as it is.
    ///
    /// # Errors
    /// [`StoreError::UnknownBatch`] when there is no batch with this id, or another owner has it.
    pub fn cancel_batch(&self, owner: &str, id: &str) -> Result<Batch, StoreError> {
        self.database().execute(
            "UPDATE batches SET state = 'cancelling', cancelling_at = ? WHERE owner = ? AND id = ? \
             AND state IN ('validating', 'in_progress')",
            params![self.now(), owner, id],
        )?;
        self.batch(owner, id)
    }

    /// Records that the results of a batch are being written; returns `false` if its lines do not run yet, or it was
    /// cancelled or has ended before.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin_finalizing(&self, id: &str) -> Result<bool, StoreError> {
        let changed = self.database().execute(
            "UPDATE batches SET state = 'finalizing', finalizing_at = COALESCE(finalizing_at, ?) \
             WHERE id = ? AND state IN ('in_progress', 'finalizing')",
            params![self.now(), id],
        )?;
        Ok(changed > 0)
    }

    /// Ends a batch with the files of its answers and of its errors, if it has any, in one transaction.
    ///
    /// # Errors
    /// When the disk fails; then the batch has not ended.
    pub fn end_batch(&self, batch: &Batch, ended: Ended, files: ResultFiles) -> Result<(), StoreError> {
        let ResultFiles { answers, errors } = files;
        let contents =
            [answers.map(Incoming::settle).transpose()?, errors.map(Incoming::settle).transpose()?];
        let mut database = self.database();
        let transaction = database.transaction()?;
        let mut ids = Vec::new();
        for (settled, kind) in contents.iter().zip(["output", "error"]) {
            let new = NewFile {
                owner: batch.owner.clone(),
                name: format!("{}_{kind}.jsonl", batch.id),
                purpose: Purpose::BatchOutput,
                expires_after_s: None,
            };
            let record =
                settled.as_ref().map(|settled| self.record(&transaction, settled, &new)).transpose()?;
            ids.push(record.map(|record| record.id));
        }
        let state = ended.state().as_str();
        transaction.execute(
            &format!(
                "UPDATE batches SET state = ?, {state}_at = ?, output_file = ?, error_file = ? WHERE id = ?"
            ),
            params![state, self.now(), ids[0], ids[1], batch.id],
        )?;
        transaction.execute("DELETE FROM results WHERE batch = ?", [&batch.id])?;
        Settled::commit(transaction, contents.into_iter().flatten())
    }
}
