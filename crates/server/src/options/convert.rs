//! Options of `gavel convert`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::HubArguments;

/// Options of `gavel convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertOptions {
    /// Checkpoint: a folder, or the id of a repository on the hub.
    pub(crate) model: String,
    /// The file to create. Its name should end in `.gguf`.
    pub(crate) file: PathBuf,
    /// Format of the weights.
    #[arg(long, value_enum)]
    pub(crate) form: GgufFormChoice,
    #[command(flatten)]
    pub(crate) hub: HubArguments,
}

/// The format of weights in a GGUF file.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum GgufFormChoice {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8 bits.
    #[value(name = "q8_0")]
    Q8_0,
    /// 4 bits at evenly spaced levels; 8 bits for embedding and head.
    #[value(name = "q4_0")]
    Q4_0,
    /// 4 bits at unevenly spaced levels, which are more exact; 8 bits for embedding and head.
    #[value(name = "iq4_nl")]
    Iq4Nl,
}
