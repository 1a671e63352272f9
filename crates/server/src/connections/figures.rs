//! Connection metrics. They are counted from before the critic is loaded, when the other metrics do not exist yet.

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Why a connection ended abnormally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DisconnectReason {
    /// Its address had too many connections.
    Address,
    /// The TLS handshake failed, or the client had no accepted certificate.
    Tls,
    /// A request head, or the TLS handshake, took too long.
    Slow,
    /// The client sent invalid HTTP, or a head that is too large.
    Malformed,
    /// The client read nothing of its answer for too long, or stopped responding.
    Stalled,
    /// The client closed the connection, or the network failed.
    Broken,
}

impl DisconnectReason {
    /// All reasons, in the order of their discriminants.
    pub(crate) const ALL: [Self; 6] =
        [Self::Address, Self::Tls, Self::Slow, Self::Malformed, Self::Stalled, Self::Broken];

    /// Classifies an error of a connection.
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

    /// The value of the metric label.
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

/// Whether the kernel gave up on a client that stopped responding. Timeouts of this process have no OS error code.
fn vanished(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut && cause.raw_os_error().is_some())
}

/// Counts of connections. All accesses are relaxed, because each counter is independent.
#[derive(Debug, Default)]
pub(crate) struct ConnectionFigures {
    open: AtomicU64,
    lost: [AtomicU64; DisconnectReason::ALL.len()],
    discarded_bytes: AtomicU64,
}

impl ConnectionFigures {
    /// The number of connections open now.
    pub(crate) fn open_now(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// The number of connections lost for this reason.
    pub(crate) fn lost_for(&self, reason: DisconnectReason) -> u64 {
        self.lost[reason as usize].load(Relaxed)
    }

    /// Bytes of bodies that nobody had read when their requests were answered, and that were discarded.
    pub(crate) fn discarded_bytes(&self) -> u64 {
        self.discarded_bytes.load(Relaxed)
    }

    pub(super) fn discarded(&self, bytes: u64) {
        self.discarded_bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn lost(&self, reason: DisconnectReason) {
        self.lost[reason as usize].fetch_add(1, Relaxed);
    }

    /// Counts a connection as open until the returned guard is dropped.
    pub(super) fn open(self: Arc<Self>) -> Open {
        self.open.fetch_add(1, Relaxed);
        Open(self)
    }
}

/// Counts an open connection until it is dropped.
pub(super) struct Open(Arc<ConnectionFigures>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
