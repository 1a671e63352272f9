//! The synchronisation primitives of `image/memory.rs`. `tests/interleavings.rs` replaces them with loom's, which
//! explores the interleavings of threads.

pub(crate) use std::sync::{Arc, Condvar, Mutex};
