//! A live server that somebody treats badly: plain sockets to it, honest clients beside, and a watch over what is left of it.

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
pub(crate) use wire::{Door, Manner, Pace, Reply, Request, Then, ask, exchange};

/// A word that stands in every request, so that a log that has it quotes a client.
pub(crate) const MARK: &str = "quokkaberry";

/// Bytes in mebibytes.
pub(crate) fn mib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}
