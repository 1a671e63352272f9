//! Processes one batch from its stored state to its end.

use std::{collections::HashSet, io::Read, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use store::{Batch, BatchState, Ended, LineError, LineResult, ResultFiles, ResultKind, StoreError};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Runner, answer,
    line::{Line, Lines},
    validate::validate,
};
use crate::metrics::LineOutcome;

/// The largest number of results to store in one transaction; results that are ready at the same time share one
/// wait for the disk.
const MAX_RESULTS_AT_ONCE: usize = 64;

/// The largest body of a line, in bytes. The routes have their own limit; this one only bounds memory.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Why the processing of lines stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopReason {
    /// All lines have a result.
    AllDone,
    /// The server is stopping.
    ServerStops,
    /// The batch was cancelled by its owner, or it expired.
    BatchEnded(Ended),
}

impl Runner {
    /// Processes a batch from its current state to its end, or until the server stops.
    ///
    /// # Errors
    /// [`StoreError`] if the disk or the database fails; the call can be repeated.
    pub(super) async fn advance(&self, id: &str) -> Result<(), StoreError> {
        loop {
            let batch = self.batch(id).await?;
            match batch.state {
                BatchState::Validating if self.has_expired(&batch) => {
                    return self.end(&batch, Ended::Expired).await;
                }
                BatchState::Validating => self.validate(&batch).await?,
                BatchState::InProgress => match self.run_lines(&batch).await? {
                    StopReason::ServerStops => return Ok(()),
                    StopReason::BatchEnded(ended) => return self.end(&batch, ended).await,
                    // If the batch was cancelled in the meantime, this changes nothing, and the next iteration
                    // reads the new state.
                    StopReason::AllDone => drop(self.begin_finalizing(id).await?),
                },
                BatchState::Finalizing => return self.end(&batch, Ended::Completed).await,
                BatchState::Cancelling => return self.end(&batch, Ended::Cancelled).await,
                BatchState::Completed | BatchState::Failed | BatchState::Expired | BatchState::Cancelled => {
                    return Ok(());
                }
            }
        }
    }

    /// Whether the completion window of a batch is over.
    fn has_expired(&self, batch: &Batch) -> bool {
        self.storage.store().now() >= batch.expires_at
    }

    /// The stored state of a batch.
    async fn batch(&self, id: &str) -> Result<Batch, StoreError> {
        let id = id.to_owned();
        self.storage.run(move |store| store.any_batch(&id)).await
    }

    /// Marks a batch whose lines all have a result.
    async fn begin_finalizing(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.storage.run(move |store| store.begin_finalizing(&id)).await
    }

    /// Validates the input of a batch, and stores the number of its lines or its errors.
    async fn validate(&self, batch: &Batch) -> Result<(), StoreError> {
        let (batch, max_lines) = (batch.clone(), self.storage.max_batch_lines);
        self.storage
            .run(move |store| {
                let mut lines = Lines::new(store.open_content(&batch.input_file)?, MAX_BODY_BYTES);
                match validate(&mut lines, &batch.endpoint, max_lines)? {
                    Ok(total) => store.begin_lines(&batch.id, total),
                    Err(errors) => store.fail_batch(&batch.id, &errors),
                }
            })
            .await
    }

    /// Runs the lines that have no result yet, and stores their results.
    async fn run_lines(&self, batch: &Batch) -> Result<StopReason, StoreError> {
        let mut changes = self.storage.changes();
        let left = u64::try_from(batch.expires_at - self.storage.store().now()).unwrap_or(0);
        let mut time_is_over = std::pin::pin!(tokio::time::sleep(Duration::from_secs(left)));
        let answers = self
            .waiting_lines(batch)
            .await?
            .map(|line| async {
                match line {
                    Ok((line, permit)) => Ok(self.answer(batch, &line, permit).await),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(self.storage.batch_concurrency)
            .ready_chunks(MAX_RESULTS_AT_ONCE);
        let mut answers = std::pin::pin!(answers);
        loop {
            tokio::select! {
                chunk = answers.next() => {
                    let Some(chunk) = chunk else { break };
                    let mut results = Vec::with_capacity(chunk.len());
                    for answer in chunk {
                        results.extend(answer?);
                    }
                    self.store_results(batch, results).await?;
                }
                _ = changes.changed() => {
                    if self.batch(&batch.id).await?.state == BatchState::Cancelling {
                        return Ok(StopReason::BatchEnded(Ended::Cancelled));
                    }
                }
                () = &mut time_is_over => return Ok(StopReason::BatchEnded(Ended::Expired)),
            }
        }
        let counts = self.batch(&batch.id).await?.counts;
        if counts.completed + counts.failed >= counts.total {
            Ok(StopReason::AllDone)
        } else if self.is_stopping() {
            Ok(StopReason::ServerStops)
        } else {
            // Otherwise lines lack an answer only because the batch has expired.
            time_is_over.await;
            Ok(StopReason::BatchEnded(Ended::Expired))
        }
    }

    /// The lines without a result, in the order of the input, each with its permit to run. The stream ends early if
    /// the server stops.
    async fn waiting_lines(
        &self,
        batch: &Batch,
    ) -> Result<impl Stream<Item = Result<(Line, OwnedSemaphorePermit), StoreError>> + '_, StoreError> {
        let (id, input) = (batch.id.clone(), batch.input_file.clone());
        let open = move |store: &Arc<store::Store>| Ok((store.done_lines(&id)?, store.open_content(&input)?));
        let (done, input) = self.storage.run(open).await?;
        let state = (Lines::new(input, MAX_BODY_BYTES), Arc::new(done), batch.endpoint.clone());
        Ok(stream::try_unfold(state, move |(lines, done, endpoint)| async move {
            let read = move |_: &Arc<store::Store>| {
                let mut lines = lines;
                let line = next_without_result(&mut lines, &done, &endpoint)?;
                Ok((line, (lines, done, endpoint)))
            };
            // Before the permit: one line of each batch waits in memory, and a batch at its end needs no permit.
            let (line, state) = self.storage.run(read).await?;
            let Some(line) = line else { return Ok(None) };
            Ok(self.line_permit().await.map(|permit| ((line, permit), state)))
        }))
    }

    /// Waits for a permit to run a line; `None` if the server stops.
    pub(super) async fn line_permit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = self.line_permits.clone().acquire_owned() => permit.ok(),
            () = self.lifecycle.draining() => None,
        }
    }

    /// Stores the results of lines, and counts them in the metrics.
    async fn store_results(&self, batch: &Batch, results: Vec<LineResult>) -> Result<(), StoreError> {
        if results.is_empty() {
            return Ok(());
        }
        let outcomes: Vec<_> = results
            .iter()
            .map(|result| if result.failed { LineOutcome::Failed } else { LineOutcome::Completed })
            .collect();
        let id = batch.id.clone();
        self.storage.run(move |store| store.add_results(&id, &results)).await?;
        for outcome in outcomes {
            self.metrics.batch_line(outcome);
        }
        Ok(())
    }

    /// Writes the results of a batch to its output files, and ends it.
    async fn end(&self, batch: &Batch, ended: Ended) -> Result<(), StoreError> {
        let batch = batch.clone();
        let id = batch.id.clone();
        self.storage
            .run(move |store| {
                if ended == Ended::Expired && batch.state == BatchState::InProgress {
                    expire_lines(store, &batch)?;
                }
                let files = ResultFiles {
                    answers: store.write_results(&batch.id, ResultKind::Answers)?,
                    errors: store.write_results(&batch.id, ResultKind::Errors)?,
                };
                store.end_batch(&batch, ended, files)
            })
            .await?;
        tracing::info!(batch = id, ?ended, "a batch has ended");
        Ok(())
    }
}

/// The next line without a result; `None` at the end of the input.
fn next_without_result(
    lines: &mut Lines<impl Read>,
    done: &HashSet<i64>,
    endpoint: &str,
) -> Result<Option<Line>, StoreError> {
    loop {
        match lines.next(endpoint)? {
            None => return Ok(None),
            Some(Ok(line)) if done.contains(&line.number) => {}
            Some(Ok(line)) => return Ok(Some(line)),
            // All lines were valid when the batch was validated.
            Some(Err(LineError { message, .. })) => return Err(StoreError::InputLine(message)),
        }
    }
}

/// Stores an expiry error as the result of each line that has none.
fn expire_lines(store: &store::Store, batch: &Batch) -> Result<(), StoreError> {
    let done = store.done_lines(&batch.id)?;
    let mut lines = Lines::new(store.open_content(&batch.input_file)?, MAX_BODY_BYTES);
    let mut results = Vec::new();
    while let Some(line) = next_without_result(&mut lines, &done, &batch.endpoint)? {
        results.push(answer::expired(&line));
        if results.len() >= MAX_RESULTS_AT_ONCE {
            store.add_results(&batch.id, &results)?;
            results.clear();
        }
    }
    store.add_results(&batch.id, &results)
}
