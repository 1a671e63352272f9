//! What systemd says to a service, by its environment.

use std::path::PathBuf;

use clap::Args;

/// What systemd says. Nobody types these, and no file sets them.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SystemdArguments {
    /// The socket on which systemd listens.
    #[arg(long, env = "NOTIFY_SOCKET", hide = true)]
    pub(crate) notify_socket: Option<PathBuf>,
    /// How long systemd waits for a sign of life, in microseconds.
    #[arg(long, env = "WATCHDOG_USEC", hide = true)]
    pub(crate) watchdog_usec: Option<u64>,
    /// The process of which it waits for one.
    #[arg(long, env = "WATCHDOG_PID", hide = true)]
    pub(crate) watchdog_pid: Option<u32>,
}
