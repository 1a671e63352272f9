//! Results of a batch's lines, each stored once or not at all.

use std::{collections::HashSet, sync::Arc};

use rusqlite::params;

use crate::{Store, contents::Incoming, error::StoreError, record::BatchUsage};

/// Number of results that are read at a time, in a page of some hundred kilobytes.
const PAGE_ROWS: i64 = 64;

/// The answer to a line.
#[derive(Debug, Clone)]
pub struct LineResult {
    /// The line of the input, counted from 1.
    pub line: i64,
    /// Whether the answer is an error.
    pub failed: bool,
    /// The line of the output, as JSON without the newline.
    pub text: String,
    /// The tokens of the line.
    pub usage: BatchUsage,
}

/// A kind of results of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultKind {
    /// Results of lines that were answered without an error.
    Answers,
    /// Results of lines whose answer is an error.
    Errors,
}

/// The result files with which a batch ends; each is `None` if it would be empty.
#[derive(Debug, Default)]
pub struct ResultFiles {
    /// The answers.
    pub answers: Option<Incoming>,
    /// The answers that are errors.
    pub errors: Option<Incoming>,
}

impl Store {
    /// Stores results durably. A result that is stored already is neither replaced nor counted again.
    ///
    /// # Errors
    /// When the disk fails; then none of them is stored.
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

    /// The numbers of the lines of a batch that have a result.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn done_lines(&self, batch: &str) -> Result<HashSet<i64>, StoreError> {
        let database = self.database();
        let mut statement = database.prepare("SELECT line FROM results WHERE batch = ?")?;
        let lines = statement.query_map([batch], |row| row.get(0))?;
        Ok(lines.collect::<Result<_, _>>()?)
    }

    /// Writes the results of one kind of a batch to a file, in the order of the input; `None` if there are none.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write_results(
        self: &Arc<Self>,
        batch: &str,
        kind: ResultKind,
    ) -> Result<Option<Incoming>, StoreError> {
        let failed = match kind {
            ResultKind::Answers => false,
            ResultKind::Errors => true,
        };
        let mut output = None;
        let mut last = 0;
        loop {
            // In pages, so that memory use stays small and other threads can use the database in between.
            let rows: Vec<(i64, String)> = {
                let database = self.database();
                let mut statement = database.prepare_cached(
                    "SELECT line, text FROM results WHERE batch = ? AND line > ? AND failed = ? ORDER BY line LIMIT ?",
                )?;
                let rows = statement.query_map(params![batch, last, failed, PAGE_ROWS], |row| {
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
