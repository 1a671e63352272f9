//! Options of `gavel rubric`.

use std::path::PathBuf;

use clap::Subcommand;

/// The subcommands of `gavel rubric`.
#[derive(Debug, Subcommand)]
pub(crate) enum RubricCommand {
    /// Load every rubric and every critic profile, and report all errors with file and key.
    Check {
        /// Folder with `rubrics` and `critics`, as for `--config-dir`; by default the built-in ones.
        folder: Option<PathBuf>,
    },
    /// List the rubrics.
    List {
        /// Folder with `rubrics` and `critics` that add to the built-in ones.
        #[arg(long)]
        config_dir: Option<PathBuf>,
    },
}
