//! Testing a live server under adverse conditions: plain sockets to it, honest clients beside them, and a watch
//! over its state.

mod figures;
mod growth;
mod honest;
mod start;
mod watch;
mod wire;

pub(crate) use figures::Figures;
pub use growth::Growth;
pub(crate) use honest::{Honest, Sample};
pub use start::Target;
pub(crate) use start::{Subject, started};
pub(crate) use watch::{Watch, fill};
pub(crate) use wire::{Access, Manner, Pace, Reply, Request, Then, ask, exchange};

/// A word in every request, so that a log line that contains it quotes a client.
pub(crate) const MARK: &str = "quokkaberry";

/// Converts bytes to MiB.
pub(crate) fn mib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}
