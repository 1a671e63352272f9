//! Batches from their beginning to their end.

use rusqlite::{OptionalExtension, params};

use crate::{
    Store,
    contents::{Incoming, Settled},
    error::StoreError,
    files::NewFile,
    fresh_id,
    record::{Batch, BatchState, LineError, Purpose},
};

/// The most batches that have not ended, of one owner and of all: each is looked at again whenever something changes.
const MOST_UNFINISHED: [u64; 2] = [100, 1000];

/// Which batches have not ended, in SQL.
pub(crate) const UNFINISHED: &str = "state IN ('validating', 'in_progress', 'finalizing', 'cancelling')";

/// A batch to begin.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// Whose it is.
    pub owner: String,
    /// The route that its lines go to.
    pub endpoint: String,
    /// The file that has its lines.
    pub input_file: String,
    /// The time it has, as its owner wrote it.
    pub completion_window: String,
    /// The same in seconds.
    pub window_s: i64,
    /// What its owner noted, as JSON.
    pub metadata: String,
    /// The critic that runs it.
    pub model: String,
    /// By which its owner begins it once, however often it is asked for.
    pub idempotency_key: Option<String>,
}

/// How a batch that was run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All lines were run.
    Completed,
    /// Its time was over.
    Expired,
    /// Its owner stopped it.
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
    /// Begins a batch, or finds the one that its owner began by the same key.
    ///
    /// # Errors
    /// When too many have not ended, another one was begun by the key, or the disk fails.
    pub fn begin_batch(&self, new: &NewBatch) -> Result<Batch, StoreError> {
        if let Some(begun) = self.begun_batch(new)? {
            return Ok(begun);
        }
        let mut database = self.database();
        let sql =
            format!("SELECT COUNT(*) FILTER (WHERE owner = ?), COUNT(*) FROM batches WHERE {UNFINISHED}");
        let counts =
            database.query_row(&sql, [&new.owner], |row| Ok([row.get::<_, i64>(0)?, row.get(1)?]))?;
        for (count, limit) in counts.into_iter().zip(MOST_UNFINISHED) {
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
            // The same request came twice at once, and the other one was first.
            drop(transaction);
            drop(database);
            return self.begin_batch(new);
        }
        transaction.commit()?;
        drop(database);
        self.batch(&new.owner, &id)
    }

    /// The batch that was begun by the same key, which must be the same one.
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
    /// [`StoreError::UnknownBatch`] when there is none of this id, or it is another's.
    pub fn batch(&self, owner: &str, id: &str) -> Result<Batch, StoreError> {
        let batch = self.any_batch(id)?;
        if batch.owner == owner { Ok(batch) } else { Err(StoreError::UnknownBatch { id: id.to_owned() }) }
    }

    /// A batch of whoever owns it.
    ///
    /// # Errors
    /// [`StoreError::UnknownBatch`] when there is none of this id.
    pub fn any_batch(&self, id: &str) -> Result<Batch, StoreError> {
        let sql = format!("SELECT {} FROM batches WHERE id = ?", Batch::COLUMNS);
        let found = self.database().query_row(&sql, [id], Batch::read).optional()?;
        found.ok_or_else(|| StoreError::UnknownBatch { id: id.to_owned() })?
    }

    /// Batches of `owner`, the newest first, at most `limit` behind the one of the id `after`; and whether there are more.
    ///
    /// # Errors
    /// [`StoreError::UnknownBatch`] when `after` is no batch of the owner.
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
        let mut batches = rows.map(|row| row?).collect::<Result<Vec<_>, StoreError>>()?;
        let more = batches.len() > limit;
        batches.truncate(limit);
        Ok((batches, more))
    }

    /// Batches that have not ended, the oldest first: their ids and owners.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn unfinished(&self) -> Result<Vec<(String, String)>, StoreError> {
        let database = self.database();
        let sql = format!("SELECT id, owner FROM batches WHERE {UNFINISHED} ORDER BY number");
        let mut statement = database.prepare(&sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Notes that the lines of a batch are right, so many, and run from now on; unless it is being stopped.
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

    /// Ends a batch whose input makes no sense.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn fail_batch(&self, id: &str, errors: &[LineError]) -> Result<(), StoreError> {
        let errors = serde_json::to_string(errors).map_err(|error| StoreError::Record(error.to_string()))?;
        self.database().execute(
            "UPDATE batches SET state = 'failed', failed_at = ?, errors = ? WHERE id = ? AND state IN ('validating', \
             'in_progress')",
            params![self.now(), errors, id],
        )?;
        Ok(())
    }

    /// Begins to stop a batch of `owner`. One that has ended stays as it is, and so does one whose results are being written.
    ///
    /// # Errors
    /// [`StoreError::UnknownBatch`] when there is none of this id, or it is another's.
    pub fn cancel_batch(&self, owner: &str, id: &str) -> Result<Batch, StoreError> {
        self.database().execute(
            "UPDATE batches SET state = 'cancelling', cancelling_at = ? WHERE owner = ? AND id = ? \
             AND state IN ('validating', 'in_progress')",
            params![self.now(), owner, id],
        )?;
        self.batch(owner, id)
    }

    /// Notes that the results of a batch are being written; tells whether it has come so far and was not stopped before.
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

    /// Ends a batch with the files of its answers and of its errors, where there are any. All of it is there, or nothing.
    ///
    /// # Errors
    /// When the disk fails; then it has not ended.
    pub fn end_batch(
        &self,
        batch: &Batch,
        ended: Ended,
        [answers, errors]: [Option<Incoming>; 2],
    ) -> Result<(), StoreError> {
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
