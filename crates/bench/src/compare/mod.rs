//! Gavel side by side with other programs, in one run on one machine.
//!
//! Every program runs in a process of its own. The programs are measured in turn, round after round, so that a
//! disturbance of the machine affects all of them. Servers are measured over HTTP, libraries by a small script.

mod agreement;
mod comparison;
mod contender;
mod device;
mod http;
mod markdown;
mod measures;
mod noise;
mod plot;
mod programs;
mod record;
mod report;
mod scene;
mod script;
mod starting;
mod texts;

use std::path::PathBuf;

use critic::{Critic, ModelSize};

use crate::{
    error::{BenchError, with_causes},
    extent::Extent,
    machine::Machine,
    steps::{Bounds, MachineLimits},
    weight_form::Form,
};
use comparison::Comparison;
use noise::Watch;
use record::Record;

pub use agreement::Agreement;
pub use contender::{Contender, ProgramName};
pub use device::CompareDevice;
pub use noise::Noise;
pub use report::{CompareReport, Figure, Program, Ratio, Section, Skipped, Unit, Weights};

/// What is compared, and how extensively.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// The path of Gavel's own program.
    pub gavel: PathBuf,
    /// The checkpoint's folder; the critic embedded in the program if `None`.
    pub checkpoint: Option<PathBuf>,
    /// The name of the checkpoint.
    pub model: String,
    /// The device that all programs compute on.
    pub device: CompareDevice,
    /// A Python interpreter with the packages of `crates/bench/peers/requirements.txt`; its peers are skipped
    /// if `None`.
    pub python: Option<PathBuf>,
    /// The path of llama.cpp's `llama-server`; it is skipped if `None`.
    pub llama_server: Option<PathBuf>,
    /// How extensively it is measured.
    pub extent: Extent,
    /// The parts to measure; all that the device supports if empty.
    pub parts: Vec<Part>,
}

/// A part of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Startup time and memory of the small critic.
    Startup,
    /// Image features.
    Image,
    /// Prefill and decode of the language model.
    Language,
    /// Judgements of several responses about one image.
    Reward,
    /// How costs grow with the context and the number of responses.
    Growth,
}

impl Part {
    /// All parts, in the order in which they are measured.
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

/// The error of a call of [`Host`].
pub type HostError = Box<dyn std::error::Error + Send + Sync>;

/// The limits of the device that computes.
#[derive(Debug, Clone)]
pub struct HostLimits {
    /// The device's name.
    pub device_name: String,
    /// The limits of the machine or GPU.
    pub limits: MachineLimits,
}

/// What only the calling program can provide, since it has the models and the kernels.
pub trait Host {
    /// The model's dimensions.
    fn size(&self) -> ModelSize;

    /// Measures the limits of the machine or GPU.
    ///
    /// # Errors
    /// When the device cannot be used.
    fn limits(&self) -> Result<HostLimits, HostError>;

    /// The number of tiles of an image of this width and height.
    fn tiles(&self, width: u32, height: u32) -> usize;

    /// Loads the model with weights in a form, on the processor.
    ///
    /// # Errors
    /// When the model cannot be loaded.
    fn critic(&self, form: Form) -> Result<Critic, HostError>;

    /// Receives the report so far after each round, so that it is not lost if the process is killed during the next
    /// one.
    fn keep(&self, report: &CompareReport);
}

/// Runs a comparison. Blocks. A peer that is missing or fails is noted in the report; so is a failure of Gavel,
/// together with the figures before it.
///
/// # Errors
/// [`BenchError::NotOnGpu`] when a named part is not measured on the device, and other [`BenchError`]s when the
/// comparison cannot be started.
pub fn compare(host: &dyn Host, options: &CompareOptions) -> Result<CompareReport, BenchError> {
    if let Some(part) = options.parts.iter().find(|part| !options.device.measures(**part)) {
        return Err(BenchError::NotOnGpu(part.name()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(BenchError::Runtime)?;
    let watch = Watch::start();
    let limits_before = host.limits().map_err(BenchError::Critic)?;
    let bounds = Bounds { limits: limits_before.limits, size: host.size() };
    let keep = |report: &CompareReport| host.keep(report);
    let record = Record::new(begun(bounds.size, options, limits_before), &keep);
    let mut comparison = Comparison::new(options, &runtime, bounds, record)?;
    let ran = comparison.run(host);
    let mut report = comparison.record.end();
    report.failure = ran.err().map(|error| with_causes(&error));
    match host.limits() {
        Ok(after) => report.limits_after = Some(after.limits),
        // If the GPU is lost, the comparison has failed before, and that error is kept.
        Err(error) => report.failure = report.failure.or_else(|| Some(with_causes(&*error))),
    }
    report.noise = watch.end();
    Ok(report)
}

/// The report before anything was measured.
fn begun(size: ModelSize, options: &CompareOptions, limits: HostLimits) -> CompareReport {
    let gavel = Program::new(ProgramName::Gavel, env!("CARGO_PKG_VERSION").to_owned());
    CompareReport {
        benchmark: "compare",
        machine: Machine::here(),
        device: options.device,
        device_name: limits.device_name,
        model: options.model.clone(),
        weights: Weights {
            decoder: size.decoder_weights,
            head: size.head_weights,
            tower: size.tower_weights,
        },
        programs: vec![gavel],
        skipped: Vec::new(),
        sections: Vec::new(),
        limits_before: limits.limits,
        limits_after: None,
        noise: Noise::default(),
        elapsed_s: 0.0,
        failure: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::TINY;

    /// A host without a critic.
    struct Empty;

    impl Host for Empty {
        fn size(&self) -> ModelSize {
            TINY
        }

        fn limits(&self) -> Result<HostLimits, HostError> {
            let limits = MachineLimits { reading_gb_per_s: 1.0, arithmetic_gflops: 1.0 };
            Ok(HostLimits { device_name: "a device".to_owned(), limits })
        }

        fn tiles(&self, _: u32, _: u32) -> usize {
            1
        }

        fn critic(&self, _: Form) -> Result<Critic, HostError> {
            Err("there is none".into())
        }

        fn keep(&self, _: &CompareReport) {}
    }

    #[test]
    fn a_failure_of_gavel_is_in_the_report_beside_what_is_known_before() {
        let options = CompareOptions {
            gavel: PathBuf::from("/no/such/program"),
            checkpoint: None,
            model: "m".to_owned(),
            device: CompareDevice::Cpu,
            python: None,
            llama_server: None,
            extent: Extent::Quick,
            parts: vec![Part::Language],
        };
        let report = compare(&Empty, &options).unwrap();
        let failure = report.failure.clone().unwrap();
        assert!(failure.starts_with("Gavel: "), "{failure}");
        assert_eq!(report.skipped[0].what, "transformers");
        assert!(report.limits_after.is_some());
        let lines = report.to_string();
        assert!(lines.contains(&format!("FAILED: {failure}\n")), "{lines}");
    }
}
