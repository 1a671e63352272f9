//! What is said of the judging log on the command line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The judging log of `gavel serve`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogOptions {
    /// Write each verdict of `POST /judge` with its case to this file, as JSON lines. Nothing is logged without it.
    #[arg(long)]
    pub(crate) judging_log: Option<PathBuf>,
    /// The size at which the file is rotated, in mebibytes.
    #[arg(long, default_value_t = 64, requires = "judging_log")]
    pub(crate) judging_log_mib: u64,
    /// How many rotated files are kept.
    #[arg(long, default_value_t = 8, requires = "judging_log")]
    pub(crate) judging_log_files: usize,
    /// What is replaced by its SHA-256.
    #[arg(long, value_enum, value_delimiter = ',', requires = "judging_log")]
    pub(crate) judging_log_redact: Vec<Redaction>,
}

/// What is left out of the log.
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
    /// Files of the judging log, rotated ones too.
    #[arg(required = true)]
    pub(crate) logs: Vec<PathBuf>,
    /// Where the training set goes, as one JSON array.
    #[arg(long)]
    pub(crate) output: PathBuf,
    /// Where images go; a folder `images` beside the output without it.
    #[arg(long)]
    pub(crate) images: Option<PathBuf>,
    /// Put images into the set as data URLs, and write no files.
    #[arg(long, conflicts_with = "images")]
    pub(crate) embed: bool,
    /// Folder with the rubrics that were used, as for `gavel serve`.
    #[arg(long)]
    pub(crate) config_dir: Option<PathBuf>,
}
