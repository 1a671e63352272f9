//! Runs batches: each line is a request to the server's own routes, one of few at a time, and gives way to all others.
//!
//! What a batch has done is in the store and nowhere else, so that it goes on after a restart where it stood. Each of its steps
//! can be done again: lines that have a result are left out, results are taken once, and its end is one transaction.

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
    storage::{Kept, SWEEP},
};

/// The most batches that are worked on at a time. Each has its input open; which of their lines run, they share.
const MOST_AT_A_TIME: usize = 16;

/// How long to wait after the disk has failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs the batches of a store. Clones run the same.
#[derive(Clone)]
pub(crate) struct Runner {
    kept: Arc<Kept>,
    router: Router,
    lifecycle: Lifecycle,
    metrics: Metrics,
    /// A place for each line that may run: it bounds the memory that lines take, whatever the size of their files.
    places: Arc<Semaphore>,
}

impl Runner {
    /// Runs what is kept on `router`.
    pub(crate) fn new((kept, router): (Arc<Kept>, Router), lifecycle: Lifecycle, metrics: Metrics) -> Self {
        metrics.begin_batches();
        let places = Arc::new(Semaphore::new(kept.batch_concurrency));
        Self { kept, router, lifecycle, metrics, places }
    }

    /// Works until the server takes no more requests; then the lines that run are finished.
    pub(crate) async fn run(self) {
        let mut changes = self.kept.changes();
        let mut sweep = tokio::time::interval(SWEEP);
        let mut working = JoinSet::new();
        let mut active: HashMap<Id, (String, String)> = HashMap::new();
        // Their tasks panicked, and would again.
        let mut given_up: HashSet<String> = HashSet::new();
        loop {
            changes.mark_unchanged();
            match self.kept.run(|store| store.unfinished()).await {
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
                    if let Err(error) = self.kept.run(|store| store.sweep()).await {
                        tracing::error!(error = &error as &dyn std::error::Error, "old files cannot be removed");
                    }
                }
            }
        }
        while working.join_next().await.is_some() {}
    }

    /// Works on a batch until it has ended or the server stops.
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

/// The batch to begin next, as its id and its owner: of the owner who has fewest at work, the oldest.
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
