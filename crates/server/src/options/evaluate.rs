//! Options of `gavel evaluate` and `gavel attack`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use evaluation::Form;

use super::{
    CriticOptions, Urls,
    numbers::{MANY, MOST_SEED, whole},
};

/// A labelled set, and the critic to measure on it.
#[derive(Debug, Args)]
pub(crate) struct LabelledOptions {
    /// The labelled set: JSON lines or a JSON array.
    pub(crate) data: PathBuf,
    /// Format of the set; `auto` detects it from the first row.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) form: FormChoice,
    /// Folder that image paths are relative to; by default the folder of the set.
    #[arg(long)]
    pub(crate) images: Option<PathBuf>,
    /// Name of the rubric for rows that name none; may be given twice, once for scores and once for preferences.
    #[arg(long)]
    pub(crate) rubric: Vec<String>,
    /// Seed of the bootstrap for confidence intervals.
    #[arg(long, default_value_t = 1, value_parser = whole::<0, MOST_SEED, u64>)]
    pub(crate) seed: u64,
    /// Number of bootstrap samples for confidence intervals; a fifth of it for figures of more than 5000 rows.
    #[arg(long, default_value_t = 1000, value_parser = whole::<0, MANY, usize>)]
    pub(crate) draws: usize,
    /// File for the results as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// File for an HTML page with plots.
    #[arg(long)]
    pub(crate) html: Option<PathBuf>,
    /// File for the critic's answers. Requests that it already answers are skipped, so an interrupted run continues
    /// where it stopped. A request is another one if its content, the critic's name, or a rubric or prompt format is
    /// different; labels may change. Failures are written to a file next to it whose name ends in `.left-out.jsonl`,
    /// and are tried again.
    #[arg(long)]
    pub(crate) answers: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) urls: Urls,
    #[command(flatten)]
    pub(crate) critic: CriticOptions,
}

/// Options of `gavel evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateOptions {
    /// The most additional prompt formats of each kind in which every request is repeated.
    #[arg(long, default_value_t = 2, value_parser = whole::<0, MANY, usize>)]
    pub(crate) wordings: usize,
    // Last, so that the command's own options are not listed under its headings.
    #[command(flatten)]
    pub(crate) labelled: LabelledOptions,
}

/// Options of `gavel attack`.
#[derive(Debug, Args)]
pub(crate) struct AttackOptions {
    /// Number of responses for which to search for words that move the critic; 0 for none.
    #[arg(long, default_value_t = 20, value_parser = whole::<0, MANY, usize>)]
    pub(crate) searches: usize,
    /// Number of requests for each search.
    #[arg(long, default_value_t = 500, value_parser = whole::<0, MANY, usize>)]
    pub(crate) search_steps: usize,
    // Last, so that the command's own options are not listed under its headings.
    #[command(flatten)]
    pub(crate) labelled: LabelledOptions,
}

/// The format of a labelled set.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum FormChoice {
    /// Detected from the first row.
    #[default]
    Auto,
    /// Gavel's own: the rows of `gavel judge --input` with `score`, `preference` or `scores`.
    Gavel,
    /// LLaVA-Critic's conversations.
    LlavaCritic,
    /// VL-RewardBench.
    VlRewardbench,
    /// MLLM-as-a-Judge: scores, pairs or batches.
    MllmAsAJudge,
}

impl FormChoice {
    /// The chosen format; `None` for `Auto`.
    pub(crate) fn form(self) -> Option<Form> {
        match self {
            Self::Auto => None,
            Self::Gavel => Some(Form::Gavel),
            Self::LlavaCritic => Some(Form::LlavaCritic),
            Self::VlRewardbench => Some(Form::VlRewardbench),
            Self::MllmAsAJudge => Some(Form::MllmAsAJudge),
        }
    }
}
