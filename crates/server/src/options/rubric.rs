//! Options of `gavel rubric`.

use std::path::PathBuf;

use clap::Subcommand;

/// The subcommands of `gavel rubric`.
#[derive(Debug, Subcommand)]
pub(crate) enum RubricCommand {
    /// Load every rubric, critic profile and form, and report all errors with file and key; list the folder's profiles
    /// with the names of checkpoints that they are for.
    Check {
        /// Folder with `rubrics`, `critics` and `forms`, as for `--config-dir`; by default the built-in ones.
        folder: Option<PathBuf>,
    },
    /// List the rubrics.
    List {
        /// Folder with `rubrics` and `critics` that add to the built-in ones.
        #[arg(long)]
        config_dir: Option<PathBuf>,
    },
}
