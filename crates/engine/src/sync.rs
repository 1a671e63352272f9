//! What handles and the engine's thread share memory by. `tests/interleavings` puts a model of it in its place, which tries
//! every order of what threads do.

pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
