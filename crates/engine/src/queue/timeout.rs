//! The maximum time that a request waits to be started.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

/// The time that requests with clones of this value wait in the queue until the first of them is started. Work that
/// was split into several requests is thus rejected as a whole, before any of it is done, or not at all: it is
/// decided once for all of them.
#[derive(Debug, Clone)]
pub struct QueueTimeout {
    since: Instant,
    most: Duration,
    /// Empty until the first of the requests is started or times out.
    decision: Arc<OnceLock<Decision>>,
}

/// What became of requests with one [`QueueTimeout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// One of them was started, so that the others wait for as long as it takes.
    Begun,
    /// One of them waited too long before any was started, so that none may be started.
    TimedOut,
}

impl QueueTimeout {
    /// A wait of at most `most` from `since` on.
    pub fn new(since: Instant, most: Duration) -> Self {
        Self { since, most, decision: Arc::default() }
    }

    /// When the time of its requests is over; `None` if no clock gets there.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.since.checked_add(self.most)
    }

    /// Records that one of its requests was started, unless they have timed out.
    pub(crate) fn begin(&self) {
        self.decision.get_or_init(|| Decision::Begun);
    }

    /// Lets its requests time out if their time is over and none was started; returns the maximum time if they have
    /// timed out, now or before.
    pub(crate) fn time_out(&self, now: Instant) -> Option<Duration> {
        if now.saturating_duration_since(self.since) >= self.most {
            self.decision.get_or_init(|| Decision::TimedOut);
        }
        self.timed_out()
    }

    /// The maximum time, if its requests have timed out.
    pub(crate) fn timed_out(&self) -> Option<Duration> {
        (self.decision.get() == Some(&Decision::TimedOut)).then_some(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_decided_once_for_all_requests() {
        let (start, most) = (Instant::now(), Duration::from_secs(1));
        let (early, late) = (start + most / 2, start + most);
        let begun = QueueTimeout::new(start, most);
        assert_eq!(begun.time_out(early), None);
        begun.clone().begin();
        assert_eq!((begun.time_out(late), begun.timed_out()), (None, None));
        let timed_out = QueueTimeout::new(start, most);
        assert_eq!(timed_out.clone().time_out(late), Some(most));
        timed_out.begin();
        assert_eq!((timed_out.timed_out(), timed_out.time_out(early)), (Some(most), Some(most)));
    }
}
