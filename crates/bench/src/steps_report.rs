//! How long steps took.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    bounds::{MachineLimits, Widths},
    machine::Machine,
    table::Table,
};

/// What a step is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Single tokens: bound by memory.
    Decode,
    /// Pieces of prompts: bound by arithmetic.
    Prefill,
    /// Tiles through the tower and the projector: bound by arithmetic.
    Images,
}

/// A step of one kind and size.
#[derive(Debug, Clone, Serialize)]
pub struct StepFigure {
    /// What it is for.
    pub kind: StepKind,
    /// Its size.
    pub setting: String,
    /// How often it was timed.
    pub samples: usize,
    /// Half of them took no longer.
    pub median_ms: f64,
    /// The shortest.
    pub least_ms: f64,
    /// Tokens or tiles each second, by the median.
    pub per_s: f64,
    /// How many there could be at the machine's limits.
    pub limit_per_s: f64,
    /// The first of these by the second.
    pub share: f64,
}

impl StepFigure {
    /// Of the times of `count` tokens or tiles each.
    pub(crate) fn new(
        (kind, setting): (StepKind, String),
        (count, mut times): (f64, Vec<Duration>),
        limit_per_s: f64,
    ) -> Self {
        times.sort_unstable();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        let median = times[times.len() / 2];
        let per_s = count / median.as_secs_f64();
        Self {
            kind,
            setting,
            samples: times.len(),
            median_ms: milliseconds(median),
            least_ms: milliseconds(times[0]),
            per_s,
            limit_per_s,
            share: per_s / limit_per_s,
        }
    }
}

/// Steps of several kinds and sizes.
#[derive(Debug, Clone, Serialize)]
pub struct StepsReport {
    /// Always `steps`.
    pub benchmark: &'static str,
    /// On what it ran.
    pub machine: Machine,
    /// What computed: the processor, or a GPU by its name.
    pub device: String,
    /// What the model is called.
    pub model: String,
    /// How its weights and its cache were kept.
    pub widths: Widths,
    /// What could be read and computed at most, measured in the same run.
    pub limits: MachineLimits,
    /// One for each kind and size.
    pub figures: Vec<StepFigure>,
    /// Why there are no more of them, where a step failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl fmt::Display for StepsReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MachineLimits { reading_gb_per_s, arithmetic_gflops } = self.limits;
        let mut table = Table::new(["step", "ms", "per second", "limit", "share"]);
        for figure in &self.figures {
            let kind = match figure.kind {
                StepKind::Decode => "decode",
                StepKind::Prefill => "prefill",
                StepKind::Images => "images",
            };
            table.row([
                format!("{kind} {}", figure.setting),
                format!("{:.2}", figure.median_ms),
                format!("{:.1}", figure.per_s),
                format!("{:.1}", figure.limit_per_s),
                format!("{:.0} %", 100.0 * figure.share),
            ]);
        }
        writeln!(formatter, "{} on {}", self.model, self.device)?;
        writeln!(
            formatter,
            "{reading_gb_per_s:.0} GB/s read, {arithmetic_gflops:.0} GFLOP/s computed at most"
        )?;
        write!(formatter, "{table}")?;
        self.failure.iter().try_for_each(|failure| write!(formatter, "\nA step failed: {failure}"))
    }
}
