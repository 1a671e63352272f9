//! The synchronisation types shared by handles and the engine's thread. `tests/interleavings` replaces them by
//! those of a model checker, which tries every interleaving of the threads.

pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
