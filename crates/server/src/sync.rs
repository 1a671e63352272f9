//! The primitives that threads of the server synchronise with in code of our own. `tests/interleavings.rs` replaces
//! them with a model that tries every interleaving.

pub(crate) use std::sync::{Arc, Mutex};

pub(crate) use tokio::sync::watch;
