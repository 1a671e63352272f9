//! What `gavel rubric` takes.

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with rubrics.
#[derive(Debug, Subcommand)]
pub(crate) enum RubricCommand {
    /// Load every rubric and every critic profile, and report everything that is wrong, with file and key.
    Check {
        /// Folder with `rubrics` and `critics`, as for `--config-dir`; without it, what is built in.
        folder: Option<PathBuf>,
    },
    /// List the rubrics.
    List {
        /// Folder with `rubrics` and `critics` that add to the built-in ones.
        #[arg(long)]
        config_dir: Option<PathBuf>,
    },
}
