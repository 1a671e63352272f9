//! Connections in figures. They are counted before there is a critic, and so before there are other figures.

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Why a connection was closed that had not asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Its address has too many.
    Address,
    /// It did not speak TLS, or had no certificate that is wanted.
    Tls,
    /// It took too long for a head, or for a TLS handshake.
    Slow,
    /// What it sent was no HTTP, or a head that is too large.
    Malformed,
    /// It took nothing of its answer for too long, or vanished without a word.
    Stalled,
    /// The client went away, or the network did.
    Broken,
}

impl Lost {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Address, Self::Tls, Self::Slow, Self::Malformed, Self::Stalled, Self::Broken];

    /// What an error of a connection means.
    pub(super) fn of(error: &hyper::Error) -> Self {
        if error.is_timeout() {
            Self::Slow
        } else if error.is_parse() {
            Self::Malformed
        } else if vanished(error) {
            Self::Stalled
        } else {
            Self::Broken
        }
    }

    /// What figures call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Tls => "tls",
            Self::Slow => "slow",
            Self::Malformed => "malformed",
            Self::Stalled => "stalled",
            Self::Broken => "broken",
        }
    }
}

/// Whether the system gave up a client of which it heard nothing. Times that run out here have no number of the system.
fn vanished(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut && cause.raw_os_error().is_some())
}

/// Counts of connections. Relaxed throughout: each stands alone.
#[derive(Debug, Default)]
pub(crate) struct ConnectionFigures {
    open: AtomicU64,
    lost: [AtomicU64; Lost::ALL.len()],
}

impl ConnectionFigures {
    /// Connections that are open now.
    pub(crate) fn open_now(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Connections that were lost for this reason.
    pub(crate) fn lost_for(&self, reason: Lost) -> u64 {
        self.lost[reason as usize].load(Relaxed)
    }

    pub(super) fn lost(&self, reason: Lost) {
        self.lost[reason as usize].fetch_add(1, Relaxed);
    }

    /// Counts a connection as open until what is returned is dropped.
    pub(super) fn open(self: Arc<Self>) -> Open {
        self.open.fetch_add(1, Relaxed);
        Open(self)
    }
}

/// An open connection.
pub(super) struct Open(Arc<ConnectionFigures>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
