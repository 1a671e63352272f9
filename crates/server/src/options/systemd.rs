//! The environment variables that systemd sets for a service.

use std::path::PathBuf;

use clap::Args;

/// Arguments from systemd's environment variables. They are hidden from help and cannot be set in a configuration
/// file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SystemdArguments {
    /// The socket for notifications to systemd.
    #[arg(long, env = "NOTIFY_SOCKET", hide = true)]
    pub(crate) notify_socket: Option<PathBuf>,
    /// Systemd's watchdog timeout, in microseconds.
    #[arg(long, env = "WATCHDOG_USEC", hide = true)]
    pub(crate) watchdog_usec: Option<u64>,
    /// The process that the watchdog watches.
    #[arg(long, env = "WATCHDOG_PID", hide = true)]
    pub(crate) watchdog_pid: Option<u32>,
}
