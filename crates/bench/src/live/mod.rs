//! Testing a live server under adverse conditions: plain sockets to it, honest clients beside them, and a watch
//! over its state.

mod check;
mod figures;
mod growth;
mod honest;
mod observers;
pub(crate) mod process;
mod reply;
mod resources;
mod start;
mod watch;
mod wire;

pub(crate) use check::Check;
pub(crate) use figures::Figures;
pub use growth::Growth;
pub(crate) use observers::{Observers, sample_image};
pub(crate) use reply::{Received, Reply, status};
pub(crate) use resources::{ResourceLines, Resources};
pub use start::Target;
pub(crate) use start::{Subject, started};
pub(crate) use wire::{Access, Manner, Request, Then, WritePace, ask, exchange};

/// A word in every request, so that a log line that contains it quotes a client.
pub(crate) const MARK: &str = "quokkaberry";

/// Converts bytes to MiB.
pub(crate) fn mib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}
