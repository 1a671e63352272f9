//! What `gavel prefer` and `gavel judge --input` take.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{CriticOptions, EngineOptions};
use crate::dialects::native::MethodBody;

/// Files of a run over many rows.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// JSON lines with a question, images and responses each. Images are data URLs or paths from the file's folder. A row's own
    /// `rubric`, or `criteria` and `scale`, comes before the option.
    #[arg(long)]
    pub(crate) input: PathBuf,
    /// Where the results go, a JSON line for each row. Rows that it has already are left out, so that a run that was
    /// stopped goes on where it was. Rows that fail, or have no pair, go into a file beside it whose name ends in
    /// `.left-out.jsonl`, with the reasons; those that failed are tried again by the next run.
    #[arg(long)]
    pub(crate) output: PathBuf,
}

/// Servers that do the work.
#[derive(Debug, Args)]
pub(crate) struct Urls {
    /// A running server, such as `http://127.0.0.1:8080`, in place of the critic inside this program; may be given several
    /// times, for servers with the same critic. Rows of one image go to one server; what a server does not answer goes to
    /// another.
    #[arg(long, conflicts_with_all = ["model", "config_dir", "quantize"])]
    pub(crate) url: Vec<String>,
    /// Key for these servers, if they ask for one.
    #[arg(long, env = "GAVEL_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
}

impl Files {
    /// Where the rows go that have no result.
    pub(crate) fn left_out(&self) -> PathBuf {
        let mut name = self.output.clone().into_os_string();
        name.push(".left-out.jsonl");
        name.into()
    }
}

/// Options of `gavel prefer`.
#[derive(Debug, Args)]
pub(crate) struct PreferOptions {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Form of the pairs.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) form: PairForm,
    /// How rewards are made of verdicts.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) method: MethodBody,
    /// Name of the rubric; without it, the critic's default.
    #[arg(long)]
    pub(crate) rubric: Option<String>,
    /// Pairs whose rewards differ by less are left out.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) least_margin: f64,
    #[command(flatten)]
    pub(crate) urls: Urls,
    // Last, so that no option of the command stands under their headings.
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
    #[command(flatten)]
    pub(crate) critic: CriticOptions,
}

/// The form of a preference pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PairForm {
    /// Conversations, as TRL's trainers read them: `images`, `prompt`, `chosen`, `rejected`.
    #[default]
    Trl,
    /// Plain text, as LLaVA-NeXT's trainer reads it: `id`, `image`, `prompt`, `chosen`, `rejected`.
    LlavaNext,
}
