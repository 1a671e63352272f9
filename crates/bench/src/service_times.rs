//! The server's own times, noted by whoever runs the server.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Gathers how long the server took for each request, from its head to the response. Clones gather together.
#[derive(Debug, Clone, Default)]
pub struct ServiceTimes {
    /// A lock, since each request takes it once for the time of a push.
    times: Arc<Mutex<Vec<Duration>>>,
}

impl ServiceTimes {
    /// Notes one request.
    pub fn record(&self, time: Duration) {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
    }

    /// Takes what was noted since the last call.
    pub(crate) fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
