//! Options of `gavel serve` for files and batches.

use std::path::PathBuf;

use clap::Args;

use super::numbers::{MANY, MOST_MIB, whole};

/// Storage of files and batches.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct StorageOptions {
    /// Folder for files and batches, which survive a restart of the server. Without it nothing is stored, and
    /// `/v1/files` and `/v1/batches` say so.
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The largest file, in mebibytes.
    #[arg(long, default_value_t = 200, value_parser = whole::<0, MOST_MIB, u64>)]
    pub(crate) max_file_mib: u64,
    /// The largest total size of all files, in mebibytes.
    #[arg(long, default_value_t = 10_240, value_parser = whole::<0, MANY, u64>)]
    pub(crate) max_stored_mib: u64,
    /// The most files, of all clients together.
    #[arg(long, default_value_t = 10_000, value_parser = whole::<0, MANY, u64>)]
    pub(crate) max_files: u64,
    /// After how many hours files and finished batches are deleted; 0 for never.
    #[arg(long, default_value_t = 720)]
    pub(crate) file_expiry_h: u32,
    /// The most lines of a batch.
    #[arg(long, default_value_t = 50_000, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_batch_lines: usize,
    /// How many lines of batches run at once. They have lower priority than all other requests.
    #[arg(long, default_value_t = 16, value_parser = whole::<1, MANY, usize>)]
    pub(crate) batch_concurrency: usize,
}
