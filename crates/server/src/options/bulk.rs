//! Options of `gavel prefer` and `gavel judge --input`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    CriticOptions, EngineOptions,
    numbers::{YEAR_S, whole},
};

/// Files of a run over many rows.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// JSON lines with a question, images and responses each. Images are data URLs, or paths relative to the file's
    /// folder. A row's own `rubric`, or `criteria` and `scale`, override the option.
    #[arg(long)]
    pub(crate) input: PathBuf,
    /// File for the results, a JSON line for each row. Rows that it already contains are skipped, so an interrupted
    /// run continues where it stopped. Rows that fail, or have no pair, are written with the reasons to a file next
    /// to it whose name ends in `.left-out.jsonl`; those that failed are tried again by the next run. A file whose name
    /// ends in `.run.json` has the options. A run is refused if it has other options, or another row with the id of one
    /// that was done, whose digest is in `row`.
    #[arg(long)]
    pub(crate) output: PathBuf,
}

/// The servers of a run.
#[derive(Debug, Args)]
pub(crate) struct Urls {
    /// A running server, such as `http://127.0.0.1:8080`, instead of the critic inside this program; may be given
    /// several times, for servers with the same critic. Rows about the same images go to one server; requests that
    /// a server does not answer go to another.
    #[arg(long, conflicts_with_all = ["model", "config_dir", "quantize"])]
    pub(crate) url: Vec<String>,
    /// Key for these servers, if they require one.
    #[arg(long, env = "GAVEL_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// With `--url`: time limit of an attempt at a request, in seconds; the request then goes to another server. It
    /// should be longer than the servers' own `--request-timeout-s`.
    // A minute more than that option's default, so that the server's own error comes first.
    #[arg(long, requires = "url", default_value_t = 660, value_parser = whole::<1, YEAR_S, u64>)]
    pub(crate) answer_timeout_s: u64,
}

impl Files {
    /// The file for rows without a result.
    pub(crate) fn left_out(&self) -> PathBuf {
        left_out_beside(&self.output)
    }
}

/// The path of the file next to `output` for rows without a result.
pub(crate) fn left_out_beside(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".left-out.jsonl");
    name.into()
}

/// Options of `gavel prefer`.
#[derive(Debug, Args)]
pub(crate) struct PreferOptions {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Form of the pairs.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) form: PairForm,
    /// How rewards are computed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) method: MethodChoice,
    /// Name of the rubric; by default the critic's own default.
    #[arg(long)]
    pub(crate) rubric: Option<String>,
    /// Leave out pairs whose rewards differ by less than this.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) least_margin: f64,
    #[command(flatten)]
    pub(crate) urls: Urls,
    // Last, so that the command's own options are not listed under their headings.
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
    #[command(flatten)]
    pub(crate) critic: CriticOptions,
}

/// How rewards are computed, named as in `POST /reward`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MethodChoice {
    /// All ordered pairs; wins minus losses, as in LLaVA-Critic.
    #[default]
    RoundRobin,
    /// All ordered pairs; strengths of the Bradley-Terry model.
    BradleyTerry,
    /// A knockout tournament: fewer comparisons, which determine only the best response reliably. The reward is the
    /// number of rounds. After a failed comparison both responses meet others.
    Tournament,
    /// Each response alone; the reward is its score.
    Pointwise,
    /// Each response alone; the unscaled output of the critic's reward head.
    Scalar,
}

/// The form of a preference pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PairForm {
    /// Conversations, as TRL's trainers read them: `images`, `prompt`, `chosen`, `rejected`.
    #[default]
    Trl,
    /// Plain text about one image, as LLaVA-NeXT's trainer reads it: `id`, `image`, `prompt`, `answer` (the row's
    /// `reference`), `chosen`, `rejected`.
    LlavaNext,
}
