//! Results of a batch's lines, each there once or not at all.

use std::collections::HashSet;

use rusqlite::params;

use crate::{Store, contents::Incoming, error::StoreError, record::BatchUsage};

/// How many results are read at a time: some hundred kilobytes.
const AT_A_TIME: i64 = 64;

/// The answer to a line.
#[derive(Debug, Clone)]
pub struct LineResult {
    /// The line of the input, counted from 1.
    pub line: i64,
    /// Whether the answer is an error.
    pub failed: bool,
    /// The line of the output, as JSON and without its end.
    pub text: String,
    /// What it took.
    pub usage: BatchUsage,
}

impl Store {
    /// Writes results down. When this returns, they outlive the process; one that is there already is not counted again.
    ///
    /// # Errors
    /// When the disk fails; then none of them is there.
    pub fn add_results(&self, batch: &str, results: &[LineResult]) -> Result<(), StoreError> {
        let mut database = self.database();
        let transaction = database.transaction()?;
        for LineResult { line, failed, text, usage } in results {
            let is_new = transaction.execute(
                "INSERT OR IGNORE INTO results (batch, line, failed, text) VALUES (?, ?, ?, ?)",
                params![batch, line, failed, text],
            )?;
            if is_new == 1 {
                transaction.execute(
                    "UPDATE batches SET completed = completed + ?, failed = failed + ?, input_tokens = input_tokens + ?, \
                     cached_tokens = cached_tokens + ?, output_tokens = output_tokens + ?, \
                     reasoning_tokens = reasoning_tokens + ? WHERE id = ?",
                    params![
                        i64::from(!failed),
                        i64::from(*failed),
                        usage.input_tokens,
                        usage.cached_tokens,
                        usage.output_tokens,
                        usage.reasoning_tokens,
                        batch
                    ],
                )?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// The lines of a batch that have a result.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn done_lines(&self, batch: &str) -> Result<HashSet<i64>, StoreError> {
        let database = self.database();
        let mut statement = database.prepare("SELECT line FROM results WHERE batch = ?")?;
        let lines = statement.query_map([batch], |row| row.get(0))?;
        Ok(lines.collect::<Result<_, _>>()?)
    }

    /// Writes the answers of a batch, or its errors, as lines in the order of the input; `None` when there are none.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write_results(
        self: &std::sync::Arc<Self>,
        batch: &str,
        failed: bool,
    ) -> Result<Option<Incoming>, StoreError> {
        let mut output = None;
        let mut last = 0;
        loop {
            // In pieces, so that memory stays small and others come to the database in between.
            let rows: Vec<(i64, String)> = {
                let database = self.database();
                let mut statement = database.prepare_cached(
                    "SELECT line, text FROM results WHERE batch = ? AND line > ? AND failed = ? ORDER BY line LIMIT ?",
                )?;
                let rows = statement.query_map(params![batch, last, failed, AT_A_TIME], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
                rows.collect::<Result<_, _>>()?
            };
            if rows.is_empty() {
                return Ok(output);
            }
            let file = match &mut output {
                Some(file) => file,
                None => output.insert(Incoming::begin_output(self)?),
            };
            for (line, mut text) in rows {
                text.push('\n');
                file.write(text.as_bytes())?;
                last = line;
            }
        }
    }
}
