//! Records what the engine is running, so that after a crash the next process knows it.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use judge::{Fingerprint, Observer, SequenceReport, StepReport, Suspect};
use signal_hook::{consts::SIGABRT, low_level::pipe};
use store::{RunningRecord, StoreError, SuspectRecord};

use crate::{metrics::EngineMetrics, storage::Storage};

/// The suspects of crashes of earlier processes, and the record of what this process runs. Empty without a data folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct CrashRecord {
    record: Option<Arc<RunningRecord>>,
    suspects: Vec<Suspect>,
}

impl CrashRecord {
    /// Reads the records of earlier processes in the data folder, and begins the record of this one.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or SIGABRT cannot be handled.
    pub(crate) fn open(storage: &Storage) -> Result<Self, CrashRecordError> {
        let Some(handle) = storage.enabled() else { return Ok(Self::default()) };
        let record = handle.store().begin_record()?;
        let suspects = handle.store().suspects()?;
        // A process that aborts, because memory ran out or a library gave up, can only write a byte in its signal
        // handler.
        let marked = record.death_mark().and_then(|mark| pipe::register(SIGABRT, mark));
        marked.map_err(CrashRecordError::Signal)?;
        if !suspects.is_empty() {
            tracing::warn!(
                requests = suspects.len(),
                "an engine died while it ran these; each will run alone"
            );
        }
        Ok(Self { record: Some(Arc::new(record)), suspects: suspects.iter().map(suspect).collect() })
    }

    /// Requests that may have caused a crash.
    pub(crate) fn suspects(&self) -> Vec<Suspect> {
        self.suspects.clone()
    }

    /// The observer of an engine, which updates its metrics and this record.
    pub(crate) fn watched_with(&self, metrics: EngineMetrics) -> Arc<dyn Observer> {
        match &self.record {
            Some(record) => {
                Arc::new(Watched { metrics, record: record.clone(), has_failed: AtomicBool::default() })
            }
            None => Arc::new(metrics),
        }
    }

    /// Records that the engine has died and the process ends because of it.
    pub(crate) fn note(&self) {
        if let Some(Err(error)) = self.record.as_ref().map(|record| record.note_death()) {
            tracing::warn!(%error, "it cannot be written down that the engine died");
        }
    }
}

/// Why it cannot be recorded what the engine runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CrashRecordError {
    /// The records in the data folder cannot be read or written.
    #[error("it cannot be kept what the engine runs")]
    Store(#[from] StoreError),
    /// The signal of a process that aborts cannot be handled.
    #[error("it cannot be kept what the engine runs")]
    Signal(#[source] io::Error),
}

fn suspect(record: &SuspectRecord) -> Suspect {
    let SuspectRecord { name, deaths, was_alone, since_s } = *record;
    Suspect { fingerprint: Fingerprint(name), deaths, was_alone, since: Duration::from_secs(since_s) }
}

/// Updates the metrics, and records the requests of each next step.
#[derive(Debug)]
struct Watched {
    metrics: EngineMetrics,
    record: Arc<RunningRecord>,
    /// Whether a failure to write was logged already.
    has_failed: AtomicBool,
}

impl Observer for Watched {
    fn about_to_run(&self, requests: &BTreeSet<Fingerprint>) {
        let names: Vec<_> = requests.iter().map(|request| request.0).collect();
        // Judging continues without the record.
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
