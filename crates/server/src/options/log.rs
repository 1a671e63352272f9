//! Options for logging on standard error and for the judging log.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::numbers::{MOST_MIB, whole};

/// The default log filter.
pub(crate) const DEFAULT_FILTER: &str = "info";

/// The environment variable with the log filter, for all commands; other programs in Rust use it too.
pub(crate) const FILTER_VARIABLE: &str = "RUST_LOG";

/// The most rotated files of a log: each rotation looks for all of them.
const MOST_FILES: u64 = 1 << 16;

/// Parses a log filter.
pub(super) fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// The judging log of `gavel serve`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogOptions {
    /// Write each verdict of `POST /judge` with its case to this file, as JSON lines. Without it nothing is
    /// recorded.
    #[arg(long)]
    pub(crate) judging_log: Option<PathBuf>,
    /// The size at which the file is rotated, in mebibytes.
    #[arg(long, default_value_t = 64, value_parser = whole::<0, MOST_MIB, u64>)]
    pub(crate) judging_log_mib: u64,
    /// How many rotated files to keep.
    #[arg(long, default_value_t = 8, value_parser = whole::<0, MOST_FILES, usize>)]
    pub(crate) judging_log_files: usize,
    /// What to replace by its SHA-256.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) judging_log_redact: Vec<Redaction>,
}

/// Content that is left out of the judging log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Redaction {
    /// Images.
    Images,
    /// Questions, responses, references, descriptions, criteria and justifications.
    Text,
}

/// Options of `gavel export`.
#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// Files of the judging log, including rotated ones.
    #[arg(required = true)]
    pub(crate) logs: Vec<PathBuf>,
    /// File for the training set, as one JSON array.
    #[arg(long)]
    pub(crate) output: PathBuf,
    /// Folder for images; by default a folder `images` next to the output.
    #[arg(long)]
    pub(crate) images: Option<PathBuf>,
    /// Put images into the set as data URLs instead of writing files.
    #[arg(long, conflicts_with = "images")]
    pub(crate) embed: bool,
    /// Folder with the rubrics that were used, as for `gavel serve`.
    #[arg(long)]
    pub(crate) config_dir: Option<PathBuf>,
}
