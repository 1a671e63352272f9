//! What `gavel convert` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::HubArguments;

/// Options of `gavel convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertOptions {
    /// Checkpoint: a folder, or the id of a repository on the hub.
    pub(crate) model: String,
    /// The new file. Its name should end in `.gguf`.
    pub(crate) file: PathBuf,
    /// How weights are written.
    #[arg(long, value_enum)]
    pub(crate) form: GgufFormChoice,
    #[command(flatten)]
    pub(crate) hub: HubArguments,
}

/// A form of weights in a GGUF file.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum GgufFormChoice {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// Eight bits.
    #[value(name = "q8_0")]
    Q8_0,
    /// Four bits at even levels; eight for vocabulary and head.
    #[value(name = "q4_0")]
    Q4_0,
    /// Four bits at uneven levels, which are more exact; eight for vocabulary and head.
    #[value(name = "iq4_nl")]
    Iq4Nl,
}
