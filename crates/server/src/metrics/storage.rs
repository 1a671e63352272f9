//! Metrics of files and batches.

use store::Figures;

use super::{Metrics, names};

/// The outcome of a line of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineOutcome {
    /// It was answered.
    Completed,
    /// It was answered with an error.
    Failed,
    /// It was refused for lack of capacity, or the server failed, and it is tried again.
    Retried,
}

impl LineOutcome {
    const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::Retried];

    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Retried => "retried",
        }
    }
}

impl Metrics {
    /// Initialises the counters of lines to 0.
    pub(crate) fn begin_batches(&self) {
        for outcome in LineOutcome::ALL {
            self.counter(&names::BATCH_LINES_TOTAL, [outcome.as_str()]).increment(0);
        }
    }

    /// Counts a line of a batch.
    pub(crate) fn batch_line(&self, outcome: LineOutcome) {
        self.counter(&names::BATCH_LINES_TOTAL, [outcome.as_str()]).increment(1);
    }

    /// Sets the current numbers of files, bytes and batches.
    pub(super) fn set_storage(&self, figures: &Figures) {
        self.gauge(&names::FILES, []).set(figures.files as f64);
        self.gauge(&names::FILES_BYTES, []).set(figures.bytes as f64);
        for (state, count) in &figures.batches {
            self.gauge(&names::BATCHES, [state.as_str()]).set(*count as f64);
        }
    }
}
