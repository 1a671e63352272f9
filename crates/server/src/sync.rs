//! What threads of the server share by code of our own. `tests/interleavings.rs` puts a model of it in its place, which tries every order
//! of what they do.

pub(crate) use std::sync::{Arc, Mutex};

pub(crate) use tokio::sync::watch;
