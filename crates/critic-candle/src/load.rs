//! Loads a critic from the files of a checkpoint.

use std::{
    ops::Add,
    panic::resume_unwind,
    sync::Arc,
    thread::{self, ScopedJoinHandle},
};

use candle_core::DType;
use critic::{Backend, Build, Critic, GenerationDefaults};
use kernels_cuda::Gpu;

use crate::{
    architectures::{Architecture, ModelWeights, SegmentEncoder, read_architecture},
    backend::{CandleBackend, LargestSteps, Memory},
    device::ComputeDevice,
    error::LoadError,
    generation,
    hub::{self, HubOptions},
    image::{ImageLimits, Loader, TileCache},
    parallel::{Group, ParallelBackend, Rank},
    source::Source,
    tokenizer::Tokenizer,
    weights::{WeightForm, Weights},
};

/// The number type that a model computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floats: the default on the CPU, where 16-bit types are only slower.
    #[default]
    F32,
    /// 16-bit floats with 8 exponent bits.
    Bf16,
    /// 16-bit floats with 5 exponent bits.
    F16,
}

impl Precision {
    /// The name of the type.
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// The device that a model computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The CPU.
    #[default]
    Cpu,
    /// The GPU with this number.
    Cuda(usize),
}

impl Device {
    /// The first GPU, if there is one and this program has kernels for it; otherwise the CPU.
    pub fn best() -> Self {
        if kernels_cuda::is_ready() { Self::Cuda(0) } else { Self::Cpu }
    }
}

/// The checkpoint to load, the device, and limits of memory and steps.
#[derive(Debug, Clone)]
pub struct Options {
    /// The checkpoint.
    pub source: Source,
    /// The device to compute on; with several ranks on GPUs, the first GPU.
    pub device: Device,
    /// Number of ranks that the decoder is split over: as many GPUs, or as many threads on the CPU.
    pub ranks: usize,
    /// The number type to compute in, whatever the stored type. `None` is f32 on the CPU, and bf16 on a GPU, which
    /// supports no other.
    pub precision: Option<Precision>,
    /// How weights are kept in memory. On the CPU it has an effect only with f32: with other types, weights are
    /// kept in the type of the computation.
    pub weights: WeightForm,
    /// The most tokens of a prompt and its reply together; `None` is the checkpoint's own context length.
    pub context_length: Option<usize>,
    /// Bytes of the cache of keys and values, over all ranks; the cache holds at least one whole context in any
    /// case. `None` is three contexts on the CPU, but at least 64 MiB and at most 256 MiB, and on a GPU all memory
    /// that is left.
    pub cache_bytes: Option<usize>,
    /// Whether to allocate all memory at the start: that of the cache, and on a GPU that of the largest steps,
    /// which then run once. Otherwise, memory is allocated on demand: a single judgement needs little, but a server
    /// that runs for days must neither grow nor run out of memory.
    pub claim_memory: bool,
    /// The most tokens of a step; `None` is 512 on the CPU, and 4096 on a GPU, enough to keep it busy.
    pub max_step_tokens: Option<usize>,
    /// The most sequences that run at once. A GPU runs a step with one token of each before the size of its cache
    /// is set.
    pub max_sequences: usize,
    /// Limits of images.
    pub image_limits: ImageLimits,
    /// Bytes of the cache of images that were decoded and cut.
    pub image_cache_bytes: usize,
    /// Where a vision tower that the checkpoint only refers to is downloaded from.
    pub hub: HubOptions,
}

impl Options {
    /// `source` with the defaults: on the CPU in f32 with weights as stored, a cache of keys and values of 64 to
    /// 256 MiB that allocates on demand, 512 tokens per step, one sequence, default image limits, and an image
    /// cache of 128 MiB.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            device: Device::Cpu,
            ranks: 1,
            precision: None,
            weights: WeightForm::Stored,
            context_length: None,
            cache_bytes: None,
            claim_memory: false,
            max_step_tokens: None,
            max_sequences: 1,
            image_limits: ImageLimits::default(),
            image_cache_bytes: 128 << 20,
            hub: HubOptions::default(),
        }
    }
}

impl Options {
    /// The number type to compute in.
    fn precision(&self) -> Precision {
        self.precision.unwrap_or(match self.device {
            Device::Cpu => Precision::F32,
            Device::Cuda(_) => Precision::Bf16,
        })
    }

    /// The architecture with the configured context length.
    ///
    /// # Errors
    /// [`LoadError::ContextLength`] when that is 0, or longer than the checkpoint's, and [`LoadError::Unsupported`] when
    /// none is configured and the checkpoint's is longer than [`MOST_CONTEXT`].
    fn limited(&self, architecture: Arc<dyn Architecture>) -> Result<Arc<dyn Architecture>, LoadError> {
        let has = architecture.text().context_length;
        match self.context_length {
            Some(asked) if asked == 0 || asked > has => Err(LoadError::ContextLength { asked, has }),
            Some(asked) => Ok(architecture.limited_to(asked)),
            None if has > MOST_CONTEXT => Err(LoadError::Unsupported {
                file: self.source.path("config.json"),
                key: "max_position_embeddings",
                found: has.to_string(),
                expected: format!("at most {MOST_CONTEXT}, or a shorter context length among the options"),
            }),
            None => Ok(architecture),
        }
    }

    /// The most tokens of a step.
    fn max_step_tokens(&self) -> usize {
        self.max_step_tokens.unwrap_or(match self.device {
            Device::Cpu => 512,
            Device::Cuda(_) => 4096,
        })
    }

    /// Opens the devices of the ranks, and checks that the decoder can be split over them and the tower run on them.
    ///
    /// # Errors
    /// [`LoadError::NoRanks`], [`LoadError::GpuPrecision`], [`LoadError::Gpu`] when a GPU cannot be opened, and
    /// [`LoadError::Unsupported`] when the decoder cannot be split.
    fn devices(&self, architecture: &dyn Architecture) -> Result<Vec<ComputeDevice>, LoadError> {
        let device = |rank| match (self.device, self.precision()) {
            (Device::Cpu, Precision::F32) => Ok(ComputeDevice::Kernels),
            (Device::Cpu, precision @ (Precision::Bf16 | Precision::F16)) => {
                Ok(ComputeDevice::Tensors(precision.dtype()))
            }
            (Device::Cuda(ordinal), Precision::Bf16) => Ok(ComputeDevice::Gpu(Gpu::open(ordinal + rank)?)),
            (Device::Cuda(_), Precision::F32 | Precision::F16) => Err(LoadError::GpuPrecision),
        };
        if self.ranks == 0 {
            return Err(LoadError::NoRanks);
        }
        let devices = (0..self.ranks).map(device).collect::<Result<Vec<ComputeDevice>, LoadError>>()?;
        let file = self.source.path("config.json");
        architecture.text().check_split(&devices, &file)?;
        architecture.vision().check_devices(&devices, &file)?;
        Ok(devices)
    }
}

/// The longest context without an option for it: tables of rotary angles are made for all positions at once.
const MOST_CONTEXT: usize = 1 << 22;

/// The parts of a loaded checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    /// Encodes prompts.
    pub processor: Arc<dyn SegmentEncoder>,
    /// Runs steps.
    pub backend: CandleBackend,
    /// Generation defaults.
    pub generation: GenerationDefaults,
    /// The properties that verdicts depend on.
    pub build: Build,
}

impl Checkpoint {
    /// Loads a checkpoint on a single rank, whatever the options.
    ///
    /// # Errors
    /// [`LoadError`], a sentence with the file, the problem and the expectation.
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        let Ranks { processor, mut backends, generation, build, .. } =
            Ranks::load(&Options { ranks: 1, ..options.clone() })?;
        let backend = backends.pop().ok_or(LoadError::NoRanks)?;
        Ok(Self { processor, backend, generation, build })
    }
}

/// The parts of a loaded checkpoint, with a backend for each rank.
struct Ranks {
    processor: Arc<dyn SegmentEncoder>,
    backends: Vec<CandleBackend>,
    group: Arc<Group>,
    generation: GenerationDefaults,
    build: Build,
}

impl Ranks {
    fn load(options: &Options) -> Result<Self, LoadError> {
        let source = &options.source;
        let architecture = options.limited(read_architecture(source)?)?;
        let tokenizer = read_tokenizer(source, architecture.text().vocabulary)?;
        let (loader, cuts) = (Loader::new(options.image_limits), TileCache::new(options.image_cache_bytes));
        let processor = architecture.read_processor(source, tokenizer, loader, cuts)?;
        let generation = generation::read(source, processor.as_ref())?;
        // The ranks add up a row of the hidden size for each token of a step.
        let most_summed = options.max_step_tokens() * architecture.text().hidden_size;
        let (ranks, group) = Rank::connect(options.devices(architecture.as_ref())?, most_summed)?;
        let first = ranks.first().ok_or(LoadError::NoRanks)?;
        let weights = Weights::open(source, architecture.gguf_naming(), first, options.weights)?;
        let tower = open_tower(options, architecture.as_ref(), &weights)?;
        let digest = weights.digest(tower.as_ref())?;
        let load = |rank: &Rank| {
            let (weights, tower) =
                (weights.on_behalf_of(rank), tower.as_ref().map(|tower| tower.on_behalf_of(rank)));
            let weights = ModelWeights { weights: &weights, tower: tower.as_ref() };
            let model = architecture.read_model(weights, options.max_step_tokens())?;
            let memory = Memory { cache_bytes: options.cache_bytes, claimed: options.claim_memory };
            let largest =
                LargestSteps { tokens: options.max_step_tokens(), sequences: options.max_sequences };
            CandleBackend::new(model, memory, largest)
        };
        let backends = concurrently(&ranks, &group, load)?;
        let build = Build {
            weights: digest,
            precision: options.precision().name(),
            form: options.weights.name(),
            ranks: options.ranks,
            // Elsewhere, sums may depend on what else is in the step.
            exact: matches!(first.device, ComputeDevice::Kernels),
            rates: backends.iter().any(|backend| backend.has_reward_head()),
        };
        Ok(Self { processor, backends, group, generation, build })
    }
}

/// Reads the tokenizer of a model with rows for `known` tokens.
///
/// # Errors
/// Those of [`Tokenizer::load`], and [`LoadError::Tokenizer`] when it has a token without a row.
fn read_tokenizer(source: &Source, known: usize) -> Result<Tokenizer, LoadError> {
    let tokenizer = Tokenizer::load(source)?;
    let ids = tokenizer.vocabulary();
    if ids > known {
        return Err(LoadError::Tokenizer {
            file: source.path("tokenizer.json"),
            reason: format!("its ids go up to {}; config.json's vocab_size is {known}", ids - 1),
        });
    }
    Ok(tokenizer)
}

/// Opens the weights of the vision tower for the rank of the checkpoint's `weights`; `None` where these contain it.
///
/// # Errors
/// [`LoadError::VisionTower`] when it cannot be found or downloaded, and those of [`Weights::open`].
fn open_tower(
    options: &Options,
    architecture: &dyn Architecture,
    weights: &Weights,
) -> Result<Option<Weights>, LoadError> {
    let Some(tower) = architecture.tower_elsewhere(weights) else { return Ok(None) };
    // The configured revision belongs to the checkpoint's repository, not to the tower's.
    let hub = HubOptions { revision: None, ..options.hub.clone() };
    let folder = hub::resolve(tower, &hub).map_err(|cause| LoadError::VisionTower {
        tower: tower.into(),
        file: options.source.path("config.json"),
        cause,
    })?;
    let (source, naming) = (Source::Folder(folder), architecture.gguf_naming());
    Weights::open(&source, naming, weights.rank(), options.weights).map(Some)
}

/// Loads all ranks, each on a thread of its own: GPUs are filled in parallel, and the steps that measure memory
/// need all ranks at once.
fn concurrently(
    ranks: &[Rank],
    group: &Group,
    load: impl Fn(&Rank) -> Result<CandleBackend, LoadError> + Sync,
) -> Result<Vec<CandleBackend>, LoadError> {
    thread::scope(|scope| {
        let load = |(index, rank)| {
            let unless_done = group.abandon_unless_done(index);
            let loaded = load(rank)?;
            unless_done.done();
            Ok(loaded)
        };
        let threads: Vec<_> = ranks.iter().enumerate().map(|rank| scope.spawn(move || load(rank))).collect();
        let join = |thread: ScopedJoinHandle<'_, Result<CandleBackend, LoadError>>| {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        let mut loaded: Vec<_> = threads.into_iter().map(join).collect();
        // The errors of the other ranks only report that another one failed.
        if let Some(failed) = group.failed() {
            loaded.swap(0, failed);
        }
        loaded.into_iter().collect()
    })
}

/// Loads a critic.
///
/// # Errors
/// [`LoadError`], a sentence with the file, the problem and the expectation.
pub fn load(options: &Options) -> Result<Critic, LoadError> {
    let Ranks { processor, mut backends, group, generation, build } = Ranks::load(options)?;
    let gpu_memory = backends.iter().filter_map(CandleBackend::gpu_memory).reduce(Add::add);
    let alone = if backends.len() == 1 { backends.pop() } else { None };
    let backend: Box<dyn Backend> = match alone {
        Some(backend) => Box::new(backend),
        None => {
            let ranks = backends.into_iter().map(|backend| Box::new(backend) as Box<dyn Backend>);
            Box::new(ParallelBackend::new(ranks.collect(), group))
        }
    };
    Ok(Critic { processor, backend, generation, build, gpu_memory })
}
