//! A budget of bytes for the images that are being decoded.

use std::sync::PoisonError;

use crate::sync::{Arc, Condvar, Mutex};

/// The bytes reserved by decoders. A lock with a condition variable instead of tokio's semaphore, since decoders
/// run on blocking threads and this crate does not depend on a runtime. The lock is held only for an addition.
#[derive(Debug)]
pub(crate) struct Memory {
    total: u64,
    lent: Mutex<u64>,
    returned: Condvar,
}

/// A reservation of bytes, returned when this is dropped.
#[derive(Debug)]
pub(crate) struct Lent {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Memory {
    pub(crate) fn new(total: u64) -> Arc<Self> {
        Arc::new(Self { total, lent: Mutex::default(), returned: Condvar::new() })
    }

    /// Waits until `bytes` are free and reserves them. A request above the total waits for all of it, so that it
    /// runs alone.
    pub(crate) fn lend(self: &Arc<Self>, bytes: u64) -> Lent {
        let bytes = bytes.min(self.total);
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        while *lent + bytes > self.total {
            lent = self.returned.wait(lent).unwrap_or_else(PoisonError::into_inner);
        }
        *lent += bytes;
        Lent { memory: self.clone(), bytes }
    }

    /// Bytes that are reserved now.
    #[cfg(test)]
    pub(crate) fn lent(&self) -> u64 {
        *self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// Bytes of this reservation.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.memory.lent.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.memory.returned.notify_all();
    }
}
