//! Notifications to systemd: that the server is ready, that its engine is alive, that it is stopping.
//!
//! The protocol is one datagram for each message, to a socket that systemd names in the environment of the service.

use std::{
    convert::Infallible,
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use judge::{Judge, Stats};

use crate::{options::SystemdArguments, routes::health::Progress};

/// Sends notifications to systemd; without a socket it sends nothing.
#[derive(Debug, Default)]
pub(crate) struct Systemd {
    socket: Option<PathBuf>,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// Takes the settings of the environment. A watchdog that is meant for another process is ignored.
    pub(crate) fn new(arguments: SystemdArguments) -> Self {
        let SystemdArguments { notify_socket, watchdog_usec, watchdog_pid } = arguments;
        let ours = watchdog_pid.is_none_or(|id| id == std::process::id());
        let watchdog = watchdog_usec.filter(|microseconds| ours && *microseconds > 0);
        Self { socket: notify_socket, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// Notifies systemd that the server accepts requests.
    pub(crate) fn ready(&self) {
        self.notify("READY=1");
    }

    /// Notifies systemd that the server is stopping, and finishes running requests.
    pub(crate) fn stopping(&self) {
        self.notify("STOPPING=1");
    }

    /// Feeds the watchdog for as long as the engine is alive; never returns.
    pub(crate) async fn watch(&self, judge: &Judge) -> Infallible {
        let Some(limit) = self.watchdog else { return std::future::pending().await };
        // Half of the watchdog's timeout, as systemd recommends.
        let mut ticks = tokio::time::interval(limit / 2);
        loop {
            ticks.tick().await;
            if lives(&judge.stats()) {
                self.notify("WATCHDOG=1");
            }
        }
    }

    /// Sends a message. A failure is logged, and the server continues.
    fn notify(&self, word: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = send(socket, word) {
            tracing::warn!(%error, word, "systemd cannot be told");
        }
    }
}

/// Whether the engine is alive and not stuck, as the probe for liveness decides it.
fn lives(stats: &Stats) -> bool {
    stats.alive && Progress::of(stats) != Progress::Stuck
}

/// Sends a message to the socket. A name that begins with `@` is not a file but in the abstract namespace of Linux.
fn send(socket: &Path, word: &str) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    {
        use std::os::{
            linux::net::SocketAddrExt,
            unix::{ffi::OsStrExt, net::SocketAddr},
        };
        if let Some(name) = socket.as_os_str().as_bytes().strip_prefix(b"@") {
            let address = SocketAddr::from_abstract_name(name)?;
            return datagram.send_to_addr(word.as_bytes(), &address).map(drop);
        }
    }
    datagram.send_to(word.as_bytes(), socket).map(drop)
}

#[cfg(test)]
mod tests {
    use judge::{EngineConfig, RubricLibrary};

    use super::*;

    #[test]
    fn a_stuck_engine_feeds_no_watchdog_and_an_idle_one_does() {
        let library = RubricLibrary::compiled_in().unwrap();
        let judge = Judge::new("null".into(), bench::null_critic(), library, EngineConfig::default());
        let idle = judge.stats();
        assert!(lives(&idle));
        assert!(!lives(&Stats { step_running: Duration::from_secs(3600), ..idle }));
        assert!(!lives(&Stats { alive: false, ..idle }));
    }
}
