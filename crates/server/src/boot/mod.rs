//! Makes a ready critic from command-line options. This is the only file that names the sources of critics.

mod error;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bench::{
    CompareDevice, CompareOptions, CompareReport, Extent, Form, Host, MachineLimits, StepsOptions,
    StepsReport, Widths,
};
use clap::ValueEnum;
use critic_candle::{
    Device, GgufForm, HubError, HubOptions, ImageLimits, LoadError, MadeForm, MakeOptions, Options,
    Precision, Shape, Source, WeightForm,
};
use judge::{Build, Critic, EngineConfig, Judge, RubricError, RubricLibrary, Setup};

use crate::{
    metrics::{EngineMetrics, Metrics},
    options::{
        ConvertOptions, CriticOptions, DeviceChoice, GgufFormChoice, HubArguments, InspectOptions,
        LimitOptions, MadeFormChoice, MakeModelArguments, PrecisionChoice, QuantizeChoice, ShapeChoice,
        WeightsChoice,
    },
    storage::crash_record::CrashRecord,
};
pub(crate) use error::BootError;

/// Measures steps of the critic alone; `keep` receives the partial report after each of them.
pub(crate) fn steps(
    options: &CriticOptions,
    extent: Extent,
    keep: &mut dyn FnMut(&StepsReport),
) -> anyhow::Result<StepsReport> {
    let (_, source) = find(options.model.as_deref(), &hub(&options.hub))?;
    let inspection = critic_candle::inspect(&source)?;
    let size = inspection.size();
    let device = device(options);
    let (device_name, (reading_gb_per_s, arithmetic_gflops)) = critic_candle::device_limits(device)?;
    let (stored, number_bytes) = match device {
        Device::Cpu => {
            let bytes = inspection.weight_bytes(WeightForm::Stored) as f64;
            (8.0 * bytes / inspection.parameters() as f64, 4.0)
        }
        Device::Cuda(_) => (16.0, 2.0),
    };
    let (layer_bits, head_bits) = match (options.quantize, options.weights) {
        (Some(QuantizeChoice::Q8), _) => (8.5, 8.5),
        (Some(QuantizeChoice::Q4), _) => (4.5, 8.5),
        (None, WeightsChoice::Auto) => (stored, stored),
        (None, WeightsChoice::F32) => (32.0, 32.0),
    };
    let max_sequences = EngineConfig::default().max_sequences;
    let (mut critic, loaded) = load(options, &LimitOptions::default(), Memory::AsNeeded, max_sequences)?;
    let options = StepsOptions {
        model: loaded.name,
        device: device_name,
        size,
        widths: Widths { layer_bits, head_bits, cached_bytes: number_bytes },
        limits: MachineLimits { reading_gb_per_s, arithmetic_gflops },
        extent,
    };
    Ok(bench::steps(&mut critic, &options, keep))
}

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

/// Starts an engine whose critic computes nothing. Its name selects the same profile as the small critic's.
pub(crate) fn start_null(config: EngineConfig) -> Result<(Judge, Metrics), RubricError> {
    let name = format!("{}-null", embedded::NAME);
    Ok(observed((name, bench::null_critic()), RubricLibrary::compiled_in()?, config, Residency::default()))
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

/// Reports the architecture, the size and the memory need of a checkpoint, without loading it.
pub(crate) fn inspect(options: &InspectOptions) -> anyhow::Result<impl Display> {
    let (name, source) = find(options.model.as_deref(), &hub(&options.hub))?;
    critic_candle::inspect(&source).with_context(|| format!("the checkpoint {name:?} cannot be inspected"))
}

/// Writes the language model of a checkpoint as GGUF; returns its number of weights.
pub(crate) fn convert(options: &ConvertOptions) -> anyhow::Result<usize> {
    let (name, source) = find(Some(&options.model), &hub(&options.hub))?;
    let form = match options.form {
        GgufFormChoice::F32 => GgufForm::F32,
        GgufFormChoice::F16 => GgufForm::F16,
        GgufFormChoice::Q8_0 => GgufForm::Q8_0,
        GgufFormChoice::Q4_0 => GgufForm::Q4_0,
        GgufFormChoice::Iq4Nl => GgufForm::Iq4Nl,
    };
    let converted = critic_candle::convert(&source, &options.file, form);
    converted.with_context(|| format!("the checkpoint {name:?} cannot be converted"))
}

/// Writes a critic with random weights and the small critic's vocabulary; returns its number of weights.
pub(crate) fn make_model(arguments: &MakeModelArguments) -> anyhow::Result<usize> {
    let options = MakeOptions {
        shape: shape_of(arguments.shape),
        seed: arguments.seed,
        form: match arguments.form {
            MadeFormChoice::F32 => MadeForm::F32,
            MadeFormChoice::Bf16 => MadeForm::Bf16,
            MadeFormChoice::Q8 => MadeForm::Q8,
            MadeFormChoice::Q4 => MadeForm::Q4,
        },
    };
    let vocabulary = Source::Embedded(embedded::FILES);
    critic_candle::make_model(&arguments.folder, &vocabulary, options).context("no model was made")
}

/// Compares the critic with other programs. `choose` makes the options from the checkpoint's name and its folder, if
/// it has one; `keep` receives the partial report after each round.
pub(crate) fn compare(
    (model, hub_arguments): (Option<&str>, &HubArguments),
    choose: impl FnOnce(String, Option<PathBuf>) -> anyhow::Result<CompareOptions>,
    keep: &dyn Fn(&CompareReport),
) -> anyhow::Result<CompareReport> {
    let hub = hub(hub_arguments);
    let (name, source) = find(model, &hub)?;
    let folder = match &source {
        Source::Folder(folder) => Some(folder.clone()),
        Source::Embedded(_) => None,
        Source::Drawn(_) => {
            bail!("other programs cannot load {name}: `gavel bench make-model` writes it to a folder")
        }
    };
    let inspection = critic_candle::inspect(&source)?;
    let options = choose(name, folder)?;
    let device = match options.device {
        CompareDevice::Cpu => Device::Cpu,
        CompareDevice::Cuda => Device::Cuda(0),
    };
    let limits = || {
        let (name, (reading_gb_per_s, arithmetic_gflops)) = critic_candle::device_limits(device)?;
        Ok((name, MachineLimits { reading_gb_per_s, arithmetic_gflops }))
    };
    let tiles = |(width, height)| inspection.tiles(width, height);
    let critic = |form| {
        let weights = match form {
            Form::F32 => WeightForm::F32,
            Form::Q8 => WeightForm::Q8,
            Form::Q4 => WeightForm::Q4,
        };
        Ok(critic_candle::load(&Options { weights, hub: hub.clone(), ..Options::new(source.clone()) })?)
    };
    let host = Host { size: inspection.size(), limits: &limits, tiles: &tiles, critic: &critic, keep };
    Ok(bench::compare(&host, &options)?)
}

fn hub(arguments: &HubArguments) -> HubOptions {
    HubOptions {
        endpoint: arguments.hub_endpoint.clone(),
        cache: arguments.hub_cache.clone(),
        token: arguments.hub_token.clone(),
        revision: arguments.revision.clone(),
        offline: arguments.offline,
    }
}

/// Prefix of `--model` for a critic whose weights are drawn at load time; its shape follows. No id on the hub has
/// this form.
const RANDOM: &str = "random:";

/// The seed of these weights, which is the default of `gavel bench make-model`.
const SEED: u64 = 1;

fn shape_of(choice: ShapeChoice) -> Shape {
    match choice {
        ShapeChoice::Small => Shape::Small,
        ShapeChoice::SevenB => Shape::SevenB,
        ShapeChoice::SeventyTwoB => Shape::SeventyTwoB,
    }
}

/// Refuses a `model` that can only mean a folder but is none, before the hub is asked for it.
fn check_path(model: &str) -> Result<(), BootError> {
    let path = Path::new(model);
    if path.exists() && !path.is_dir() {
        return Err(BootError::File { model: model.to_owned() });
    }
    let is_path = ["./", "../", "/", "~"].iter().any(|start| model.starts_with(start));
    if is_path && !path.is_dir() {
        return Err(BootError::NoFolder { model: model.to_owned() });
    }
    Ok(())
}

/// The name and the source of a checkpoint. A folder is named by the last component of its path, a repository by its
/// id.
fn find(model: Option<&str>, hub: &HubOptions) -> Result<(String, Source), BootError> {
    let Some(model) = model else {
        return Ok((embedded::NAME.to_owned(), Source::Embedded(embedded::FILES)));
    };
    if let Some(shape) = model.strip_prefix(RANDOM) {
        let shape = ShapeChoice::from_str(shape, true)
            .map_err(|_| BootError::UnknownShape { model: model.to_owned() })?;
        let vocabulary = Source::Embedded(embedded::FILES);
        let drawn = critic_candle::drawn_checkpoint(shape_of(shape), SEED, &vocabulary)
            .map_err(|error| BootError::Vocabulary(Box::new(error)))?;
        return Ok((model.replace(':', "-"), Source::Drawn(Arc::new(drawn))));
    }
    check_path(model)?;
    let folder = critic_candle::resolve(model, hub)?;
    let is_folder = Path::new(model).is_dir();
    let last_part =
        folder.canonicalize().ok().and_then(|folder| Some(folder.file_name()?.to_string_lossy().into()));
    let name = last_part.filter(|_| is_folder).unwrap_or_else(|| model.to_owned());
    Ok((name, Source::Folder(folder)))
}
