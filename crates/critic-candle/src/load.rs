//! From a checkpoint's files to a critic.

use std::{
    panic::resume_unwind,
    sync::Arc,
    thread::{self, ScopedJoinHandle},
};

use candle_core::DType;
use critic::{Backend, Build, Critic, GenerationDefaults, TokenId};
use kernels_cuda::Gpu;
use serde::Deserialize;

use crate::{
    architectures::llava_onevision::{
        Anatomy, ControlTokens, GGUF, Layout, LlavaProcessor, Model, Normalisation, read_hf_config,
        read_native_config,
    },
    backend::CandleBackend,
    chat::ChatFormat,
    error::LoadError,
    hub::{self, HubOptions},
    image::{ImageLimits, Loader, TileCache},
    layers::Place,
    parallel::{Group, ParallelBackend, Rank, Shard},
    source::Source,
    tokenizer::Tokenizer,
    weights::{WeightForm, Weights},
};

/// Reads the configuration of one architecture.
type ReadAnatomy = fn(&Source) -> Result<Anatomy, LoadError>;

/// Every architecture that can be loaded, by `architectures[0]` in `config.json`.
const ARCHITECTURES: &[(&str, ReadAnatomy)] = &[
    ("LlavaOnevisionForConditionalGeneration", read_hf_config),
    ("LlavaQwenForCausalLM", read_native_config),
];

/// The number type that a model computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floats: the reference on a CPU, where computing in half types is only slower.
    #[default]
    F32,
    /// 16-bit floats with 8 exponent bits.
    Bf16,
    /// 16-bit floats with 5 exponent bits.
    F16,
}

impl Precision {
    /// What it is called.
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

/// What a model computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A card, by its number.
    Cuda(usize),
}

impl Device {
    /// The first card where there is one and this program has kernels for it, else the processor.
    pub fn best() -> Self {
        if kernels_cuda::is_ready() { Self::Cuda(0) } else { Self::Cpu }
    }
}

/// What to load, and how much room it gets.
#[derive(Debug, Clone)]
pub struct Options {
    /// The checkpoint.
    pub source: Source,
    /// What to compute on; of several cards the first.
    pub device: Device,
    /// How many ranks the decoder is split over: as many cards, or as many threads on the processor.
    pub ranks: usize,
    /// The number type to compute in, whatever the files are stored in; none is f32 on the processor and bf16 on a card,
    /// which has no other.
    pub precision: Option<Precision>,
    /// How weights are kept in memory. On the processor only f32 has forms: the other types keep weights as they compute
    /// with them.
    pub weights: WeightForm,
    /// Bytes for the cache of keys and values; at least one whole context is given. None is 256 MiB on the processor, and on
    /// a card what is left when all else is there.
    pub cache_bytes: Option<usize>,
    /// Whether that cache has all its memory from the start. Without it a process takes it as the cache fills: a single
    /// judgement needs little of it, and what serves for days must not grow.
    pub claim_cache: bool,
    /// The most tokens that one step runs; none is 512 on the processor and 4096 on a card, which such a step keeps busy.
    pub max_step_tokens: Option<usize>,
    /// Bounds of pictures.
    pub image_limits: ImageLimits,
    /// Bytes for pictures that were decoded and cut for earlier prompts.
    pub image_cache_bytes: usize,
    /// Where a vision tower that the checkpoint only refers to is downloaded from.
    pub hub: HubOptions,
}

impl Options {
    /// `source` with the defaults: on the processor in f32 with weights as they are stored, 256 MiB of cache that take memory
    /// as they fill, 512 tokens a step, pictures within their usual bounds, of which 128 MiB are kept.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            device: Device::Cpu,
            ranks: 1,
            precision: None,
            weights: WeightForm::Stored,
            cache_bytes: None,
            claim_cache: false,
            max_step_tokens: None,
            image_limits: ImageLimits::default(),
            image_cache_bytes: 128 << 20,
            hub: HubOptions::default(),
        }
    }
}

impl Options {
    /// The number type that is computed in.
    fn precision(&self) -> Precision {
        self.precision.unwrap_or(match self.device {
            Device::Cpu => Precision::F32,
            Device::Cuda(_) => Precision::Bf16,
        })
    }

    /// The most tokens that one step runs.
    fn max_step_tokens(&self) -> usize {
        self.max_step_tokens.unwrap_or(match self.device {
            Device::Cpu => 512,
            Device::Cuda(_) => 4096,
        })
    }

    /// Where the ranks of the model of this `anatomy` are to compute; cards are opened.
    fn places(&self, anatomy: &Anatomy) -> Result<Vec<Place>, LoadError> {
        let place = |rank| match (self.device, self.precision()) {
            (Device::Cpu, Precision::F32) => Ok(Place::Kernels),
            (Device::Cpu, precision @ (Precision::Bf16 | Precision::F16)) => {
                Ok(Place::Tensors(precision.dtype()))
            }
            (Device::Cuda(ordinal), Precision::Bf16) => Ok(Place::Card(Gpu::open(ordinal + rank)?)),
            (Device::Cuda(_), Precision::F32 | Precision::F16) => Err(LoadError::CardPrecision),
        };
        if self.ranks == 0 {
            return Err(LoadError::NoRanks);
        }
        let places = (0..self.ranks).map(place).collect::<Result<Vec<Place>, LoadError>>()?;
        Shard::check(&places, &anatomy.text, &self.source.path("config.json"))?;
        Ok(places)
    }
}

/// The parts of a loaded checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    /// Prompts to tokens.
    pub processor: LlavaProcessor,
    /// Steps.
    pub backend: CandleBackend,
    /// Defaults of generation.
    pub generation: GenerationDefaults,
    /// What it is made of.
    pub build: Build,
}

impl Checkpoint {
    /// Reads a checkpoint, whose decoder stays in one piece whatever the options say.
    ///
    /// # Errors
    /// [`LoadError`], one sentence that names the file, what is wrong and what was expected.
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        let Ranks { processor, mut backends, generation, build, .. } =
            Ranks::load(&Options { ranks: 1, ..options.clone() })?;
        let backend = backends.pop().ok_or(LoadError::NoRanks)?;
        Ok(Self { processor, backend, generation, build })
    }
}

/// The parts of a loaded checkpoint, with as many backends as there are ranks.
struct Ranks {
    processor: LlavaProcessor,
    backends: Vec<CandleBackend>,
    group: Arc<Group>,
    generation: GenerationDefaults,
    build: Build,
}

impl Ranks {
    fn load(options: &Options) -> Result<Self, LoadError> {
        let source = &options.source;
        let anatomy = read_anatomy(source)?;
        let tokenizer = Tokenizer::load(source)?;
        let (ids, known) = (tokenizer.vocabulary(), anatomy.text.vocabulary);
        if ids > known {
            return Err(LoadError::Tokenizer {
                file: source.path("tokenizer.json"),
                reason: format!("its ids go up to {}; config.json's vocab_size is {known}", ids - 1),
            });
        }
        let processor = read_processor(options, &anatomy, tokenizer)?;
        let generation = read_generation(source, &processor)?;
        let (ranks, group) = Rank::among(options.places(&anatomy)?)?;
        let first = ranks.first().ok_or(LoadError::NoRanks)?;
        let weights = Weights::open(source, &GGUF, first, options.weights)?;
        let tower = match Model::tower_elsewhere(&anatomy, &weights) {
            None => None,
            Some(tower) => {
                // The revision that was asked for is one of the checkpoint's repository.
                let hub = HubOptions { revision: None, ..options.hub.clone() };
                let folder = hub::resolve(tower, &hub).map_err(|cause| LoadError::VisionTower {
                    tower: tower.into(),
                    file: source.path("config.json"),
                    cause,
                })?;
                Some(Weights::open(&Source::Folder(folder), &GGUF, first, options.weights)?)
            }
        };
        let digest = weights.digest(tower.as_ref());
        let load = |rank: &Rank| {
            let (weights, tower) =
                (weights.on_behalf_of(rank), tower.as_ref().map(|tower| tower.on_behalf_of(rank)));
            let normalisation = processor.normalisation.clone();
            let files = (&weights, tower.as_ref());
            let model = Model::load(anatomy.clone(), normalisation, files, options.max_step_tokens())?;
            let mut backend = CandleBackend::new(model, options.cache_bytes, options.max_step_tokens())?;
            if options.claim_cache {
                backend.claim_cache()?;
            }
            Ok(backend)
        };
        let backends = at_once((&ranks, &group), load)?;
        let build = Build {
            weights: digest,
            precision: options.precision().name(),
            form: options.weights.name(),
            ranks: options.ranks,
            // Sums in half types depend on what runs beside them.
            exact: matches!(first.place, Place::Kernels),
            rates: backends.iter().any(|backend| backend.model().has_reward_head()),
        };
        Ok(Self { processor, backends, group, generation, build })
    }
}

/// Loads all ranks, each on a thread of its own: cards are filled side by side, and steps to see what memory they need are run
/// together.
fn at_once(
    (ranks, group): (&[Rank], &Group),
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
        // What the others say is only that this one failed.
        if let Some(failed) = group.failed() {
            loaded.swap(0, failed);
        }
        loaded.into_iter().collect()
    })
}

/// Loads a critic.
///
/// # Errors
/// [`LoadError`], one sentence that names the file, what is wrong and what was expected.
pub fn load(options: &Options) -> Result<Critic, LoadError> {
    let Ranks { processor, mut backends, group, generation, build } = Ranks::load(options)?;
    let alone = if backends.len() == 1 { backends.pop() } else { None };
    let backend: Box<dyn Backend> = match alone {
        Some(backend) => Box::new(backend),
        None => {
            let ranks = backends.into_iter().map(|backend| Box::new(backend) as Box<dyn Backend>);
            Box::new(ParallelBackend::new(ranks.collect(), group))
        }
    };
    Ok(Critic { processor: Arc::new(processor), backend, generation, build })
}

/// Reads `config.json` by the architecture that it names.
pub(crate) fn read_anatomy(source: &Source) -> Result<Anatomy, LoadError> {
    const FILE: &str = "config.json";
    let config: serde_json::Value = source.required_json(FILE, "model configuration")?;
    let found = config["architectures"][0].as_str().unwrap_or_default();
    let known = ARCHITECTURES.iter().find(|(name, _)| *name == found);
    let (_, read) = known.ok_or_else(|| LoadError::UnknownArchitecture {
        file: source.path(FILE),
        found: found.into(),
        expected: ARCHITECTURES.iter().map(|(name, _)| *name).collect(),
    })?;
    read(source)
}

/// The image processor's configuration: a file of its own, or, as transformers 5 writes it, a part of the processor's.
const PREPROCESSOR: &str = "preprocessor_config.json";

/// Keys of the image processor's configuration; SigLIP's values where the file or a key is absent, as the native code has them.
#[derive(Deserialize, Default)]
struct Preprocessor {
    image_mean: Option<[f64; 3]>,
    image_std: Option<[f64; 3]>,
    rescale_factor: Option<f64>,
    resample: Option<u32>,
}

fn read_preprocessor(source: &Source) -> Result<Preprocessor, LoadError> {
    #[derive(Deserialize)]
    struct Whole {
        image_processor: Option<Preprocessor>,
    }
    let expected = "image processor configuration";
    if let Some(preprocessor) = source.json(PREPROCESSOR, expected)? {
        return Ok(preprocessor);
    }
    let whole: Option<Whole> = source.json("processor_config.json", expected)?;
    Ok(whole.and_then(|whole| whole.image_processor).unwrap_or_default())
}

fn read_processor(
    options: &Options,
    anatomy: &Anatomy,
    tokenizer: Tokenizer,
) -> Result<LlavaProcessor, LoadError> {
    let source = &options.source;
    let preprocessor = read_preprocessor(source)?;
    if let Some(filter) = preprocessor.resample.filter(|filter| *filter != 3) {
        return Err(LoadError::Unsupported {
            file: source.path(PREPROCESSOR),
            key: "resample",
            found: filter.to_string(),
            expected: "3, which is bicubic".into(),
        });
    }
    let control = |text: &str| {
        tokenizer.control(text).ok_or_else(|| LoadError::Tokenizer {
            file: source.path("tokenizer.json"),
            reason: format!("it has no control token {text}"),
        })
    };
    let control = ControlTokens { turn_start: control("<|im_start|>")?, turn_end: control("<|im_end|>")? };
    // A native vocabulary has no token for a picture; any id does, since placeholders are never embedded.
    let placeholders = anatomy.placeholders.unwrap_or((TokenId(u32::MAX), TokenId(u32::MAX)));
    Ok(LlavaProcessor {
        geometry: anatomy.geometry.clone(),
        normalisation: Normalisation::new(
            preprocessor.rescale_factor.unwrap_or(1.0 / 255.0),
            preprocessor.image_mean.unwrap_or([0.5; 3]),
            preprocessor.image_std.unwrap_or([0.5; 3]),
        ),
        format: ChatFormat::recognise(source, anatomy.layout == Layout::Native)?,
        tokenizer,
        control,
        placeholders,
        loader: Loader::new(options.image_limits),
        cuts: TileCache::new(options.image_cache_bytes),
    })
}

/// Keys of `generation_config.json`.
#[derive(Deserialize, Default)]
struct Generation {
    eos_token_id: Option<EndTokens>,
    repetition_penalty: Option<f32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EndTokens {
    One(u32),
    Several(Vec<u32>),
}

fn read_generation(source: &Source, processor: &LlavaProcessor) -> Result<GenerationDefaults, LoadError> {
    let generation: Generation =
        source.json("generation_config.json", "generation configuration")?.unwrap_or_default();
    let end_tokens = match generation.eos_token_id {
        Some(EndTokens::One(token)) => vec![TokenId(token)],
        Some(EndTokens::Several(tokens)) => tokens.into_iter().map(TokenId).collect(),
        None => vec![processor.control.turn_end],
    };
    Ok(GenerationDefaults { end_tokens, repetition_penalty: generation.repetition_penalty.unwrap_or(1.0) })
}
