//! The report of how long steps take.

use std::{fmt, time::Duration};

use critic::GpuMemory;
use serde::Serialize;

use crate::{
    bounds::{MachineLimits, Widths},
    machine::Machine,
    table::Table,
};

/// The kind of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Single tokens: bound by memory bandwidth.
    Decode,
    /// Prompt chunks: bound by arithmetic.
    Prefill,
    /// Tiles through the vision tower and the projector: bound by arithmetic.
    Images,
}

impl StepKind {
    /// The name in tables and in the log.
    fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::Images => "images",
        }
    }
}

/// The measurement of a step of one kind and size.
#[derive(Debug, Clone, Serialize)]
pub struct StepFigure {
    /// The kind of the step.
    pub kind: StepKind,
    /// The size of the step, as text.
    pub setting: String,
    /// The number of timed runs.
    pub samples: usize,
    /// The median time.
    pub median_ms: f64,
    /// The shortest time.
    pub least_ms: f64,
    /// Tokens or tiles per second, from the median time.
    pub per_s: f64,
    /// Tokens or tiles per second at the machine's limits.
    pub limit_per_s: f64,
    /// `per_s / limit_per_s`.
    pub share: f64,
}

impl StepFigure {
    /// Computes the figures from the times of runs of `count` tokens or tiles each.
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

/// How a GPU's memory was divided, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MemoryShares {
    /// Weights, and what the driver and other programs had allocated before.
    pub weights: u64,
    /// Working memory of the largest step and the largest batch of tiles.
    pub steps: u64,
    /// Image features.
    pub images: u64,
    /// Keys and values.
    pub cache: u64,
    /// Memory that is kept free.
    pub spare: u64,
}

impl From<GpuMemory> for MemoryShares {
    fn from(memory: GpuMemory) -> Self {
        let GpuMemory { weights, steps, images, cache, spare } = memory;
        Self { weights, steps, images, cache, spare }
    }
}

/// The measurements of steps of several kinds and sizes.
#[derive(Debug, Clone, Serialize)]
pub struct StepsReport {
    /// Always `steps`.
    pub benchmark: &'static str,
    /// The machine it ran on.
    pub machine: Machine,
    /// The device that computed: the processor, or a GPU by its name.
    pub device: String,
    /// The model's name.
    pub model: String,
    /// The storage sizes of its weights and its cache.
    pub widths: Widths,
    /// The limits of memory bandwidth and arithmetic, measured in the same run.
    pub limits: MachineLimits,
    /// How the GPU's memory was divided; `None` without a GPU, or where the size of its cache was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_memory: Option<MemoryShares>,
    /// One measurement for each kind and size.
    pub figures: Vec<StepFigure>,
    /// Steps that failed, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

impl StepsReport {
    /// Adds a measurement, and logs it, so that it is recorded even if this process is killed.
    pub(crate) fn measured(&mut self, figure: StepFigure) {
        tracing::info!(
            step = figure.kind.name(),
            setting = figure.setting,
            median_ms = figure.median_ms,
            per_s = figure.per_s,
            share = figure.share,
            "measured"
        );
        self.figures.push(figure);
    }

    /// Adds a failure, and logs it.
    pub(crate) fn failed(&mut self, what: &str, why: &str) {
        tracing::warn!(what, why, "not measured");
        self.failures.push(format!("{what}: {why}"));
    }
}

impl fmt::Display for StepsReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MachineLimits { reading_gb_per_s, arithmetic_gflops } = self.limits;
        let mut table = Table::new(["step", "ms", "per second", "limit", "share"]);
        for figure in &self.figures {
            table.row([
                format!("{} {}", figure.kind.name(), figure.setting),
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
        if let Some(MemoryShares { weights, steps, images, cache, spare }) = self.gpu_memory {
            let mib = |bytes: u64| bytes >> 20;
            writeln!(
                formatter,
                "MiB of memory: weights {}, steps {}, images {}, cache {}, spare {}",
                mib(weights),
                mib(steps),
                mib(images),
                mib(cache),
                mib(spare),
            )?;
        }
        write!(formatter, "{table}")?;
        self.failures.iter().try_for_each(|failure| writeln!(formatter, "FAILED {failure}"))
    }
}
