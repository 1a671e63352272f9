//! How long a request waits to be begun.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How long a request, and all those that have a clone of this, wait in line until the first of them is begun. What was
/// asked in several requests is refused as a whole, before anything is done for it, or not at all.
#[derive(Debug, Clone)]
pub struct Patience {
    since: Instant,
    most: Duration,
    /// Set once, by the engine's thread alone: nothing else follows from it, so that its order does not matter.
    begun: Arc<AtomicBool>,
}

impl Patience {
    /// From `since` on for `most`.
    pub fn new(since: Instant, most: Duration) -> Self {
        Self { since, most, begun: Arc::default() }
    }

    /// Notes that one of its requests is begun.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Relaxed);
    }

    /// How long it was, when that is over.
    pub(crate) fn over(&self, now: Instant) -> Option<Duration> {
        let is_over = !self.begun.load(Relaxed) && now.saturating_duration_since(self.since) >= self.most;
        is_over.then_some(self.most)
    }
}
