//! The maximum time that a request waits to be started.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// The time that requests with clones of this value wait in the queue until the first of them is started. Work that
/// was split into several requests is thus rejected as a whole, before any of it is done, or not at all.
#[derive(Debug, Clone)]
pub struct QueueTimeout {
    since: Instant,
    most: Duration,
    /// Set once, only by the engine's thread. No other data depends on it, so that relaxed ordering is enough.
    begun: Arc<AtomicBool>,
}

impl QueueTimeout {
    /// A wait of at most `most` from `since` on.
    pub fn new(since: Instant, most: Duration) -> Self {
        Self { since, most, begun: Arc::default() }
    }

    /// Records that one of its requests was started.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Relaxed);
    }

    /// The maximum time, if it is over.
    pub(crate) fn over(&self, now: Instant) -> Option<Duration> {
        let is_over = !self.begun.load(Relaxed) && now.saturating_duration_since(self.since) >= self.most;
        is_over.then_some(self.most)
    }
}
