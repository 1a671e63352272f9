//! What the engine was running when a process died: written down by that process, and known to the next.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use judge::{Fingerprint, Observer, SequenceReport, StepReport, Suspect};
use signal_hook::{consts::SIGABRT, low_level::pipe};
use store::{Bystander, RunningRecord};

use crate::{
    exit::{Fatal, Status},
    metrics::EngineMetrics,
    storage::Storage,
};

/// What is known of deaths before, and where this process's own is written down. Nothing where no folder is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deaths {
    record: Option<Arc<RunningRecord>>,
    suspects: Vec<Suspect>,
}

impl Deaths {
    /// Reads what the last processes left in the folder, and begins this one's record.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub(crate) fn open(storage: &Storage) -> Result<Self, Fatal> {
        let Some(kept) = storage.kept() else { return Ok(Self::default()) };
        let failed = |error: anyhow::Error| {
            Fatal::new(Status::Misconfigured, &error.context("it cannot be kept what the engine runs"))
        };
        let record = kept.store().begin_record().map_err(|error| failed(error.into()))?;
        let suspects = kept.store().bystanders().map_err(|error| failed(error.into()))?;
        // A process that aborts, as it does without memory or when a library gives up, can do no more than write a byte.
        let marked = record.death_mark().and_then(|mark| pipe::register(SIGABRT, mark));
        marked.map_err(|error| failed(error.into()))?;
        if !suspects.is_empty() {
            tracing::warn!(
                requests = suspects.len(),
                "an engine died while it ran these; each will run alone"
            );
        }
        Ok(Self { record: Some(Arc::new(record)), suspects: suspects.iter().map(suspect).collect() })
    }

    /// Requests that may have been the cause of a death.
    pub(crate) fn suspects(&self) -> Vec<Suspect> {
        self.suspects.clone()
    }

    /// Who watches an engine: its figures, and this record.
    pub(crate) fn watched_with(&self, metrics: EngineMetrics) -> Arc<dyn Observer> {
        match &self.record {
            Some(record) => {
                Arc::new(Watched { metrics, record: record.clone(), has_failed: AtomicBool::default() })
            }
            None => Arc::new(metrics),
        }
    }

    /// Notes that the engine is gone, and the process with it.
    pub(crate) fn note(&self) {
        if let Some(Err(error)) = self.record.as_ref().map(|record| record.note_death()) {
            tracing::warn!(%error, "it cannot be written down that the engine died");
        }
    }
}

fn suspect(bystander: &Bystander) -> Suspect {
    let Bystander { name, deaths, was_alone, since_s } = *bystander;
    Suspect { fingerprint: Fingerprint(name), deaths, was_alone, since: Duration::from_secs(since_s) }
}

/// Counts, and writes down what is about to be run.
#[derive(Debug)]
struct Watched {
    metrics: EngineMetrics,
    record: Arc<RunningRecord>,
    /// Whether it was told already that the disk fails.
    has_failed: AtomicBool,
}

impl Observer for Watched {
    fn about_to_run(&self, requests: &BTreeSet<Fingerprint>) {
        let names: Vec<_> = requests.iter().map(|request| request.0).collect();
        // Judging does not depend on it.
        if let Err(error) = self.record.note(&names)
            && !self.has_failed.swap(true, Relaxed)
        {
            tracing::warn!(%error, "it cannot be written down what the engine runs");
        }
    }

    fn step(&self, step: &StepReport) {
        self.metrics.step(step);
    }

    fn wrote(&self, gap: Duration) {
        self.metrics.wrote(gap);
    }

    fn ended(&self, sequence: &SequenceReport) {
        self.metrics.ended(sequence);
    }
}
