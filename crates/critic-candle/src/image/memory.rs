//! Memory that images take while they are decoded, lent out by weight.

use std::sync::PoisonError;

use crate::sync::{Arc, Condvar, Mutex};

/// Bytes that are lent to decoders. A lock and not a semaphore of tokio's, since decoders run on threads for blocking work and
/// this crate knows no runtime; it is held for an addition.
#[derive(Debug)]
pub(crate) struct Memory {
    total: u64,
    lent: Mutex<u64>,
    returned: Condvar,
}

/// Bytes that are lent until this is dropped.
#[derive(Debug)]
pub(crate) struct Lent {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Memory {
    pub(crate) fn new(total: u64) -> Arc<Self> {
        Arc::new(Self { total, lent: Mutex::default(), returned: Condvar::new() })
    }

    /// Waits until `bytes` are free. What is larger than all there is waits for all of it, so that it runs alone.
    pub(crate) fn lend(self: &Arc<Self>, bytes: u64) -> Lent {
        let bytes = bytes.min(self.total);
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        while *lent + bytes > self.total {
            lent = self.returned.wait(lent).unwrap_or_else(PoisonError::into_inner);
        }
        *lent += bytes;
        Lent { memory: self.clone(), bytes }
    }

    /// Bytes that are lent now.
    #[cfg(test)]
    pub(crate) fn lent(&self) -> u64 {
        *self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// How many bytes are lent.
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
