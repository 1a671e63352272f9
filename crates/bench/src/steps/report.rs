//! The report of how long steps take.

use std::{fmt, time::Duration};

use critic::GpuMemory;
use serde::Serialize;

use super::{
    bounds::MachineLimits,
    plan::{Step, StepKind},
};
use crate::{machine::Machine, quantile::median, table::Table, weight_form::Widths};

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
    /// Computes the figures of a step from the times of its runs, of which there is at least one.
    pub(crate) fn new(step: Step, times: &[Duration], limit_per_s: f64) -> Self {
        let times_s: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
        let median_s = median(&times_s).unwrap_or(f64::NAN);
        let per_s = step.count() as f64 / median_s;
        Self {
            kind: step.kind(),
            setting: step.setting(),
            samples: times.len(),
            median_ms: median_s * 1000.0,
            least_ms: times_s.into_iter().fold(f64::INFINITY, f64::min) * 1000.0,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Step, StepFigure};

    #[test]
    fn of_an_even_number_of_runs_the_time_is_between_the_two_in_the_middle() {
        let times = [8, 2, 4, 30].map(Duration::from_millis);
        let figure = StepFigure::new(Step::Images { tiles: 3 }, &times, 1000.0);
        assert_eq!((figure.samples, figure.median_ms, figure.least_ms), (4, 6.0, 2.0));
        assert_eq!((figure.per_s, figure.share), (500.0, 0.5));
    }
}
