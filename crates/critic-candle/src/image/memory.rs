//! Memory that pictures take while they are decoded, lent out by weight.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

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
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        let free = |lent: &mut u64| *lent + bytes > self.total;
        let mut lent = self.returned.wait_while(lent, free).unwrap_or_else(PoisonError::into_inner);
        *lent += bytes;
        Lent { memory: self.clone(), bytes }
    }

    /// Bytes that are lent now.
    #[cfg(test)]
    pub(crate) fn lent(&self) -> u64 {
        *self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.memory.lent.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.memory.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn whoever_finds_too_little_waits_for_its_return() {
        let memory = Memory::new(100);
        let first = memory.lend(60);
        let (told, heard) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let more = memory.lend(1000);
                told.send(memory.lent()).unwrap();
                drop(more);
            });
            assert_eq!(memory.lend(40).bytes, 40, "what fits beside it does not wait");
            assert!(heard.try_recv().is_err());
            drop(first);
            assert_eq!(heard.recv().unwrap(), 100, "what is too large for all runs alone");
        });
        assert_eq!(memory.lent(), 0);
    }
}
