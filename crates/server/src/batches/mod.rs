//! Runs batches: each line is a request to the server's own router. A bounded number run at once, at lower priority
//! than all other requests.
//!
//! The progress of a batch is kept only in the store, so that a batch resumes after a restart. Every step is
//! idempotent: lines with a result are skipped, a result is stored once, and the end of a batch is one transaction.

mod answer;
mod line;
mod run;
mod validate;

pub(crate) use line::Lines;
pub(crate) use validate::validate;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio::{
    sync::Semaphore,
    task::{Id, JoinSet},
};

use crate::{
    lifecycle::{Lifecycle, Phase},
    metrics::Metrics,
    storage::{SWEEP, StoreHandle},
};

/// The largest number of batches to process at the same time: as many as lines run at once by default, so that each
/// can run one. Each keeps its input file open; the lines of all batches share the slots for running lines.
const MOST_AT_A_TIME: usize = 16;

/// Pause after a failure of the disk, before the batch is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs the batches of a store. Clones share the same state.
#[derive(Clone)]
pub(crate) struct Runner {
    storage: Arc<StoreHandle>,
    router: Router,
    lifecycle: Lifecycle,
    metrics: Metrics,
    /// One permit for each line that may run. It bounds the memory for lines, whatever the size of their files.
    places: Arc<Semaphore>,
}

impl Runner {
    /// Creates a runner that sends the lines of stored batches to `router`.
    pub(crate) fn new(
        (storage, router): (Arc<StoreHandle>, Router),
        lifecycle: Lifecycle,
        metrics: Metrics,
    ) -> Self {
        metrics.begin_batches();
        let places = Arc::new(Semaphore::new(storage.batch_concurrency));
        Self { storage, router, lifecycle, metrics, places }
    }

    /// Runs batches until the server drains, then waits for the lines that are running.
    pub(crate) async fn run(self) {
        let mut changes = self.storage.changes();
        let mut sweep = tokio::time::interval(SWEEP);
        let mut working = JoinSet::new();
        let mut active: HashMap<Id, (String, String)> = HashMap::new();
        // Batches whose tasks panicked, and would panic again.
        let mut given_up: HashSet<String> = HashSet::new();
        loop {
            changes.mark_unchanged();
            match self.storage.run(|store| store.unfinished()).await {
                Ok(mut unfinished) => {
                    unfinished.retain(|(id, _)| !given_up.contains(id));
                    while let Some((id, owner)) = next(&unfinished, active.values()) {
                        let (runner, batch) = (self.clone(), id.clone());
                        let task = working.spawn(async move { runner.work_on(batch).await });
                        active.insert(task.id(), (id, owner));
                    }
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "batches cannot be looked for")
                }
            }
            tokio::select! {
                () = self.lifecycle.draining() => break,
                _ = changes.changed() => {}
                Some(ended) = working.join_next_with_id() => {
                    let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
                    if let Some((batch, _)) = active.remove(&id) && ended.is_err() {
                        tracing::error!(batch, "a batch is given up until the next start, since its task panicked");
                        given_up.insert(batch);
                    }
                }
                _ = sweep.tick() => {
                    if let Err(error) = self.storage.run(|store| store.sweep()).await {
                        tracing::error!(error = &error as &dyn std::error::Error, "old files cannot be removed");
                    }
                }
            }
        }
        while working.join_next().await.is_some() {}
    }

    /// Processes a batch until it ends or the server stops, and retries after storage errors.
    async fn work_on(self, id: String) {
        while let Err(error) = self.bring_on(&id).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                batch = id,
                "a batch waits for the disk"
            );
            tokio::select! {
                () = self.lifecycle.draining() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.lifecycle.phase() == Phase::Draining
    }
}

/// The id and the owner of the batch to start next: the oldest batch of the owner with the fewest active ones.
/// `None` if no batch waits or the limit of active batches is reached.
fn next<'a>(
    unfinished: &[(String, String)],
    active: impl Iterator<Item = &'a (String, String)>,
) -> Option<(String, String)> {
    let active: Vec<_> = active.collect();
    if active.len() >= MOST_AT_A_TIME {
        return None;
    }
    let waits = |batch: &&(String, String)| active.iter().all(|(id, _)| *id != batch.0);
    let at_work = |owner: &str| active.iter().filter(|(_, other)| other == owner).count();
    unfinished.iter().filter(waits).min_by_key(|(_, owner)| at_work(owner)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_have_equally_many_batches_at_work_and_the_oldest_first() {
        let batch = |id: usize, owner: &str| (id.to_string(), owner.to_owned());
        let mut unfinished: Vec<_> = (0..30).map(|id| batch(id, "many")).collect();
        unfinished.extend([batch(30, "few"), batch(31, "few")]);
        let mut active = Vec::new();
        while let Some(batch) = next(&unfinished, active.iter()) {
            active.push(batch);
        }
        let ids: Vec<&str> = active.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids[..6], ["0", "30", "1", "31", "2", "3"]);
        assert_eq!(active.len(), MOST_AT_A_TIME);
    }
}
