//! Makes a ready critic from command-line options. This folder alone names the sources of critics.

mod benchmarks;
mod checkpoint;
mod error;
mod source;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use critic_candle::{Device, ImageLimits, Options, Precision, WeightForm};
use judge::{Build, Critic, EngineConfig, Judge, RubricError, RubricLibrary, Setup};

use crate::{
    metrics::{EngineMetrics, Metrics},
    options::{CriticOptions, DeviceChoice, LimitOptions, PrecisionChoice, QuantizeChoice, WeightsChoice},
    storage::crash_record::CrashRecord,
};
pub(crate) use benchmarks::{compare, start_null, steps};
pub(crate) use checkpoint::{convert, inspect, make_model};
pub(crate) use error::BootError;
use source::{find, hub};

/// Loads the critic and starts its engine for a single run, without a verdict memo.
pub(crate) fn start(options: &CriticOptions, config: EngineConfig) -> Result<(Judge, Metrics), BootError> {
    start_resident(options, &LimitOptions::default(), config, Residency::default())
}

/// State of a judge that outlives a request.
#[derive(Debug, Default)]
pub(crate) struct Residency {
    /// Capacity of the verdict memo; 0 disables it.
    pub(crate) memo_entries: usize,
    /// What earlier engines were running when they died.
    pub(crate) crash_record: CrashRecord,
    /// When the critic allocates its memory.
    pub(crate) memory: Memory,
}

/// When a critic allocates its memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Memory {
    /// On demand.
    #[default]
    AsNeeded,
    /// All at the start: a server that runs for days must neither grow nor run out of memory later.
    Claimed,
}

/// Like [`start`], with image limits and the given residency.
pub(crate) fn start_resident(
    options: &CriticOptions,
    limits: &LimitOptions,
    config: EngineConfig,
    residency: Residency,
) -> Result<(Judge, Metrics), BootError> {
    let library = library(options.config_dir.as_deref())?;
    let (critic, loaded) = load(options, limits, residency.memory, config.max_sequences)?;
    let gpu_memory = critic.gpu_memory;
    // While other sequences decode, a step of 2048 prefill tokens takes a GPU no longer than far fewer take a CPU.
    let config = match loaded.device {
        Device::Cpu => config,
        Device::Cuda(_) => EngineConfig { max_prefill_tokens: config.max_prefill_tokens.max(2048), ..config },
    };
    let (judge, metrics) = observed((loaded.name, critic), library, config, residency);
    metrics.started("load", loaded.loading);
    metrics.started("warmup", loaded.warming);
    metrics.set_gpu_memory(gpu_memory);
    Ok((judge, metrics))
}

/// What is known of a loaded critic beside the critic itself.
struct Loaded {
    name: String,
    device: Device,
    loading: Duration,
    warming: Duration,
}

/// Loads the critic for up to `max_sequences` concurrent sequences and warms it up.
fn load(
    options: &CriticOptions,
    limits: &LimitOptions,
    memory: Memory,
    max_sequences: usize,
) -> Result<(Critic, Loaded), BootError> {
    let hub = hub(&options.hub);
    let (name, source) = find(options.model.as_deref(), &hub)?;
    let device = device(options);
    let precision = options.precision.map(|choice| match choice {
        PrecisionChoice::F32 => Precision::F32,
        PrecisionChoice::Bf16 => Precision::Bf16,
        PrecisionChoice::F16 => Precision::F16,
    });
    let weights = match (options.quantize, options.weights) {
        (Some(QuantizeChoice::Q8), _) => WeightForm::Q8,
        (Some(QuantizeChoice::Q4), _) => WeightForm::Q4,
        (None, WeightsChoice::Auto) => WeightForm::Stored,
        (None, WeightsChoice::F32) => WeightForm::F32,
    };
    let narrow = precision.is_some_and(|precision| precision != Precision::F32);
    if options.quantize.is_some() && device == Device::Cpu && narrow {
        return Err(BootError::QuantizedPrecision);
    }
    let start = Instant::now();
    let options = Options {
        device,
        ranks: options.tensor_parallel.into(),
        precision,
        weights,
        context_length: options.context_length,
        cache_bytes: options.cache_mib.map(|mebibytes| mebibytes << 20),
        claim_memory: memory == Memory::Claimed,
        max_sequences,
        image_cache_bytes: options.image_cache_mib << 20,
        image_limits: image_limits(limits),
        hub,
        ..Options::new(source)
    };
    let mut critic = critic_candle::load(&options)
        .map_err(|source| BootError::Load { name: name.clone(), source: Box::new(source) })?;
    let loading = start.elapsed();
    critic.warm_up().map_err(|source| BootError::Run { name: name.clone(), source })?;
    Ok((critic, Loaded { name, device, loading, warming: start.elapsed().saturating_sub(loading) }))
}

/// The compute device chosen by the options.
fn device(options: &CriticOptions) -> Device {
    match options.device {
        DeviceChoice::Auto => Device::best(),
        DeviceChoice::Cpu => Device::Cpu,
        DeviceChoice::Cuda(ordinal) => Device::Cuda(ordinal),
    }
}

fn image_limits(options: &LimitOptions) -> ImageLimits {
    let pixels = options.max_megapixels.saturating_mul(1_000_000);
    ImageLimits {
        file_bytes: (options.max_image_mib as u64) << 20,
        pixels,
        prompt_pixels: pixels.saturating_mul(16),
        side: options.max_image_side,
        aspect: options.max_image_aspect,
        memory_bytes: options.decode_memory_mib << 20,
        time: Duration::from_secs_f64(options.decode_timeout_s),
    }
}

/// Loads the rubrics and critic profiles: the built-in ones, and those of `folder` if there is one.
///
/// # Errors
/// [`RubricError::Library`] with all problems of all files.
pub(crate) fn library(folder: Option<&Path>) -> Result<RubricLibrary, RubricError> {
    folder.map_or_else(RubricLibrary::compiled_in, RubricLibrary::with_folder)
}

/// The compute type, followed by the form of the weights where it differs; `none` for a critic that computes nothing.
fn dtype(build: &Build) -> String {
    match (build.precision, build.form) {
        ("", _) => "none".to_owned(),
        (precision, form) if form == "stored" || form == precision => precision.to_owned(),
        (precision, form) => format!("{precision}-{form}"),
    }
}

/// Starts a judge; returns it with the metrics of its engine.
fn observed(
    (model, critic): (String, Critic),
    library: RubricLibrary,
    engine: EngineConfig,
    residency: Residency,
) -> (Judge, Metrics) {
    let Residency { memo_entries, crash_record, .. } = residency;
    let metrics = Metrics::new(&model, &dtype(&critic.build));
    let observer = crash_record.watched_with(EngineMetrics::new(metrics.clone()));
    let suspects = crash_record.suspects();
    (Judge::start(Setup { model, critic, library, engine, observer, suspects, memo_entries }), metrics)
}
