//! What `gavel evaluate` and `gavel attack` take.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use evaluation::Form;

use super::{CriticOptions, Urls};

/// A labelled set, and who is measured by it.
#[derive(Debug, Args)]
pub(crate) struct LabelledOptions {
    /// The labelled set: JSON lines, or a JSON array.
    pub(crate) data: PathBuf,
    /// Its form; by its first row when `auto`.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) form: FormChoice,
    /// Where image paths begin; the folder of the set without it.
    #[arg(long)]
    pub(crate) images: Option<PathBuf>,
    /// Name of the rubric for rows that name none; given twice, one for scores and one for preferences.
    #[arg(long)]
    pub(crate) rubric: Vec<String>,
    /// From which the intervals follow.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Sets that are drawn for the intervals.
    #[arg(long, default_value_t = 1000)]
    pub(crate) draws: usize,
    /// File for the figures as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// File for a page with plots.
    #[arg(long)]
    pub(crate) html: Option<PathBuf>,
    /// File for the critic's answers. Those that it has are not asked for again, so that a run that was stopped goes on where
    /// it was; failures go into a file beside it whose name ends in `.left-out.jsonl`, and are asked for again.
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
    /// Other prompt formats of the critic in which everything is asked again, at most.
    #[arg(long, default_value_t = 2)]
    pub(crate) wordings: usize,
    // Last, so that no option of the command stands under its headings.
    #[command(flatten)]
    pub(crate) labelled: LabelledOptions,
}

/// Options of `gavel attack`.
#[derive(Debug, Args)]
pub(crate) struct AttackOptions {
    /// Responses for each of which words are searched that move the critic; 0 for none.
    #[arg(long, default_value_t = 20)]
    pub(crate) searches: usize,
    /// Requests of each search.
    #[arg(long, default_value_t = 500)]
    pub(crate) search_steps: usize,
    // Last, so that no option of the command stands under its headings.
    #[command(flatten)]
    pub(crate) labelled: LabelledOptions,
}

/// The form of a labelled set.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum FormChoice {
    /// By its first row.
    #[default]
    Auto,
    /// Our own: the rows of `gavel judge --input` with `score`, `preference` or `scores`.
    Gavel,
    /// LLaVA-Critic's conversations.
    LlavaCritic,
    /// VL-RewardBench.
    VlRewardbench,
    /// MLLM-as-a-Judge: scores, pairs or batches.
    MllmAsAJudge,
}

impl FormChoice {
    /// The form, if one was chosen.
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
