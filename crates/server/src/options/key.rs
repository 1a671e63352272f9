//! Options of `gavel key`.

use clap::Subcommand;

/// The subcommands of `gavel key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key: the key is printed on standard error, its entry for a key file on standard output.
    New {
        /// Name of the key, which metrics show.
        id: String,
    },
}
