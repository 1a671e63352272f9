//! What is said of keys on the command line.

use clap::Subcommand;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key: it is told on standard error, and its entry for a file of keys on standard output.
    New {
        /// Its name, which stands in figures.
        id: String,
    },
}
