//! Runs batches: each line is a request to the server's own router. A bounded number run at once, at lower priority
//! than all other requests.
//!
//! The progress of a batch is kept only in the store, so that a batch resumes after a restart. Every step is
//! idempotent: lines with a result are skipped, a result is stored once, and the end of a batch is one transaction.

mod answer;
mod line;
mod run;
mod validate;

pub(crate) use line::{Lines, route_of};
pub(crate) use validate::validate;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio::{
    sync::Semaphore,
    task::{Id, JoinError, JoinSet},
};

use crate::{
    metrics::Metrics,
    service::lifecycle::{Lifecycle, Phase},
    storage::{SWEEP, StoreHandle},
};

/// The largest number of batches to process at the same time: as many as lines run at once by default, so that each
/// can run one. Each keeps its input file open; the lines of all batches share the slots for running lines.
const MAX_ACTIVE_BATCHES: usize = 16;

/// The size of all lines that may pause without a permit, in kibibytes: some thousand lines, or some dozens with
/// images.
const PAUSED_KIB: usize = 64 << 10;

/// Pause after a failure of the disk, before the batch is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Runs the batches of a store. Clones share the same state.
#[derive(Clone)]
pub(crate) struct Runner {
    storage: Arc<StoreHandle>,
    router: Router,
    lifecycle: Lifecycle,
    metrics: Metrics,
    /// One permit for each line that may run. It bounds the memory for lines, whatever the size of their files.
    line_permits: Arc<Semaphore>,
    /// Kibibytes of lines that may pause without a permit, so that those of a key without quota do not keep the lines
    /// of other keys from running. Lines beyond that keep their permits.
    paused_kib: Arc<Semaphore>,
}

/// A batch that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct UnfinishedBatch {
    id: String,
    /// The tenant that created it.
    owner: String,
}

/// The batches that are processed now.
#[derive(Default)]
struct ActiveBatches {
    tasks: JoinSet<()>,
    /// The batch of each task.
    by_task: HashMap<Id, UnfinishedBatch>,
    /// The ids of batches whose tasks panicked, and would panic again.
    given_up: HashSet<String>,
}

impl ActiveBatches {
    /// Removes the batch of a task that has ended, and gives it up if the task panicked.
    fn remove(&mut self, ended: &Result<(Id, ()), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        if let Some(batch) = self.by_task.remove(&id)
            && ended.is_err()
        {
            tracing::error!(
                batch = batch.id,
                "a batch is given up until the next start, since its task panicked"
            );
            self.given_up.insert(batch.id);
        }
    }
}

impl Runner {
    /// Creates a runner that sends the lines of stored batches to `router`.
    pub(crate) fn new(
        storage: Arc<StoreHandle>,
        router: Router,
        lifecycle: Lifecycle,
        metrics: Metrics,
    ) -> Self {
        metrics.begin_batches();
        let line_permits = Arc::new(Semaphore::new(storage.batch_concurrency));
        let paused_kib = Arc::new(Semaphore::new(PAUSED_KIB));
        Self { storage, router, lifecycle, metrics, line_permits, paused_kib }
    }

    /// Runs batches until the server drains, then waits for the lines that are running.
    pub(crate) async fn run(self) {
        let mut changes = self.storage.changes();
        let mut sweep = tokio::time::interval(SWEEP);
        let mut active = ActiveBatches::default();
        loop {
            changes.mark_unchanged();
            match self.storage.run(|store| store.unfinished()).await {
                Ok(unfinished) => self.start_batches(unfinished, &mut active),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "batches cannot be looked for")
                }
            }
            tokio::select! {
                () = self.lifecycle.draining() => break,
                _ = changes.changed() => {}
                Some(ended) = active.tasks.join_next_with_id() => active.remove(&ended),
                _ = sweep.tick() => {
                    if let Err(error) = self.storage.run(|store| store.sweep()).await {
                        tracing::error!(error = &error as &dyn std::error::Error, "old files cannot be removed");
                    }
                }
            }
        }
        while active.tasks.join_next().await.is_some() {}
    }

    /// Starts batches of `unfinished`, which have ids and owners, as long as more may be active.
    fn start_batches(&self, unfinished: Vec<(String, String)>, active: &mut ActiveBatches) {
        let unfinished: Vec<_> = unfinished
            .into_iter()
            .map(|(id, owner)| UnfinishedBatch { id, owner })
            .filter(|batch| !active.given_up.contains(&batch.id))
            .collect();
        while let Some(batch) = next(&unfinished, active.by_task.values()) {
            let (runner, id) = (self.clone(), batch.id.clone());
            let task = active.tasks.spawn(async move { runner.process(id).await });
            active.by_task.insert(task.id(), batch);
        }
    }

    /// Processes a batch until it ends or the server stops, and retries after storage errors.
    async fn process(self, id: String) {
        while let Err(error) = self.advance(&id).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                batch = id,
                "a batch waits for the disk"
            );
            tokio::select! {
                () = self.lifecycle.draining() => return,
                () = tokio::time::sleep(RETRY_PAUSE) => {}
            }
        }
    }

    /// Whether the server stops.
    fn is_stopping(&self) -> bool {
        self.lifecycle.phase() == Phase::Draining
    }
}

/// The batch to start next: the oldest batch of the owner with the fewest active ones. `None` if no batch waits or the
/// limit of active batches is reached.
fn next<'a>(
    unfinished: &[UnfinishedBatch],
    active: impl Iterator<Item = &'a UnfinishedBatch>,
) -> Option<UnfinishedBatch> {
    let active: Vec<_> = active.collect();
    if active.len() >= MAX_ACTIVE_BATCHES {
        return None;
    }
    let waits = |batch: &&UnfinishedBatch| active.iter().all(|other| other.id != batch.id);
    let active_of = |owner: &str| active.iter().filter(|other| other.owner == owner).count();
    unfinished.iter().filter(waits).min_by_key(|batch| active_of(&batch.owner)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_have_equally_many_active_batches_and_the_oldest_first() {
        let batch = |id: usize, owner: &str| UnfinishedBatch { id: id.to_string(), owner: owner.to_owned() };
        let mut unfinished: Vec<_> = (0..30).map(|id| batch(id, "many")).collect();
        unfinished.extend([batch(30, "few"), batch(31, "few")]);
        let mut active: Vec<UnfinishedBatch> = Vec::new();
        while let Some(batch) = next(&unfinished, active.iter()) {
            active.push(batch);
        }
        let ids: Vec<&str> = active.iter().map(|batch| batch.id.as_str()).collect();
        assert_eq!(ids[..6], ["0", "30", "1", "31", "2", "3"]);
        assert_eq!(active.len(), MAX_ACTIVE_BATCHES);
    }
}
