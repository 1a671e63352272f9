//! The server's own times, recorded by the program that runs the server.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Collects how long the server took for each request, from its head to the response. Clones share the list.
#[derive(Debug, Clone, Default)]
pub struct ServiceTimes {
    /// A mutex suffices, since each request holds it for one push.
    times: Arc<Mutex<Vec<Duration>>>,
}

impl ServiceTimes {
    /// Records the time of one request.
    pub fn record(&self, time: Duration) {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
    }

    /// Returns the times recorded since the last call.
    pub(crate) fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
