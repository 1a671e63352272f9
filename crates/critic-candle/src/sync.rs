//! What decoders wait for each other by. `tests/interleavings.rs` puts a model of it in its place, which tries every order of what
//! threads do.

pub(crate) use std::sync::{Arc, Condvar, Mutex};
