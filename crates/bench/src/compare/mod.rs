//! Gavel side by side with other programs, in one run on one machine.
//!
//! Every program runs in a process of its own and is asked in turn with the others, round after round, so that what
//! disturbs the machine disturbs all of them. Servers are asked by HTTP, libraries by a small script.

mod comparison;
mod device;
mod http;
mod markdown;
mod measures;
mod noise;
mod plot;
mod process;
mod programs;
mod report;
mod scene;
mod script;
mod starting;
mod texts;

use std::{path::PathBuf, time::Instant};

use critic::{Critic, ModelSize};

use crate::{
    bounds::{Bounds, MachineLimits},
    error::BenchError,
    machine::Machine,
};
use comparison::Comparison;
use noise::Watch;

pub use device::CompareDevice;
pub use noise::Noise;
pub(crate) use process::Running;
pub use programs::Form;
pub use report::{CompareReport, Figure, Program, Ratio, Section, Skipped, Unit, Weights};

/// What is compared, and how much of it.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// Gavel's own program.
    pub gavel: PathBuf,
    /// The checkpoint's folder; without it, the critic that the program carries.
    pub checkpoint: Option<PathBuf>,
    /// Name of the checkpoint.
    pub model: String,
    /// What is compared on.
    pub device: CompareDevice,
    /// A Python that has the libraries of `crates/bench/peers/requirements.txt`.
    pub python: Option<PathBuf>,
    /// llama.cpp's `llama-server`.
    pub llama_server: Option<PathBuf>,
    /// How much is measured.
    pub extent: Extent,
    /// What is measured; everything that can be when nothing is named.
    pub parts: Vec<Part>,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Sizes and repetitions that give figures.
    Full,
    /// Small sizes, each once: shows that everything works.
    Quick,
}

/// A part of the measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Start and memory of the small critic.
    Startup,
    /// Features of an image.
    Image,
    /// Reading and writing of the language model.
    Language,
    /// Judgements of several responses to one image.
    Reward,
    /// How costs grow.
    Growth,
}

impl Part {
    /// All of them, in order.
    const ALL: [Self; 5] = [Self::Startup, Self::Image, Self::Language, Self::Reward, Self::Growth];

    fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Image => "image",
            Self::Language => "language",
            Self::Reward => "reward",
            Self::Growth => "growth",
        }
    }
}

/// What a call of [`Host`] can fail with.
type HostError = Box<dyn std::error::Error + Send + Sync>;

/// What only the program that calls can do: it knows the models and the arithmetic.
pub struct Host<'a> {
    /// Of what the model is made.
    pub size: ModelSize,
    /// Measures what the machine, or the GPU, can do, and tells what it is called.
    pub limits: &'a dyn Fn() -> Result<(String, MachineLimits), HostError>,
    /// Tiles that an image of this width and height is cut into.
    pub tiles: &'a dyn Fn((u32, u32)) -> usize,
    /// Loads the model with weights of a form, on the processor.
    pub critic: &'a dyn Fn(Form) -> Result<Critic, HostError>,
}

impl std::fmt::Debug for Host<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Host").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Compares. Blocks.
///
/// # Errors
/// [`BenchError`] when Gavel itself cannot be measured, or not what is asked for. A peer that is not there or fails is told in the report.
pub fn compare(host: &Host<'_>, options: &CompareOptions) -> Result<CompareReport, BenchError> {
    if let Some(part) = options.parts.iter().find(|part| !options.device.measures(**part)) {
        return Err(BenchError::NotOnGpu(part.name()));
    }
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(BenchError::Runtime)?;
    let watch = Watch::start();
    let (device_name, before) = (host.limits)().map_err(BenchError::Critic)?;
    let bounds = Bounds { limits: before, size: host.size };
    let mut comparison = Comparison::new(options, (&runtime, bounds))?;
    comparison.run(host)?;
    let Comparison { programs, skipped, sections, .. } = comparison;
    let (_, after) = (host.limits)().map_err(BenchError::Critic)?;
    Ok(CompareReport {
        benchmark: "compare",
        machine: Machine::here(),
        device: options.device,
        device_name,
        model: options.model.clone(),
        weights: Weights {
            decoder: host.size.decoder_weights,
            head: host.size.head_weights,
            tower: host.size.tower_weights,
        },
        programs,
        skipped,
        sections,
        limits: [before, after],
        noise: watch.end(),
        elapsed_s: begin.elapsed().as_secs_f64(),
    })
}
