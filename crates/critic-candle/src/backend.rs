//! Runs the steps of a model on one device: features of images, the cache of keys and values, logits.

mod gpu_memory;

use std::{
    hash::RandomState,
    ops::{Range, RangeInclusive},
    time::Instant,
};

use candle_core::{Device, Result, Tensor};
use critic::{
    Backend, BackendError, BackendFigures, Batch, ContentHash, GpuMemory, Limits, StepOutput, Visual, Wants,
};
use lru::LruCache;

use crate::{
    architectures::{Model, ModelParts},
    decoders::DecoderConfig,
    device::ComputeDevice,
    error::LoadError,
    kv_cache::{LayerCache, TokensOf},
    rows::Rows,
};

/// Bytes of the cache of recent images' features, so that an image whose prompt runs in several chunks, or that is
/// used again, goes through the tower once.
const FEATURE_BYTES: usize = 256 << 20;

/// Whole contexts that fit into the cache of keys and values on the CPU by default, within [`CACHE_BYTES`].
const CONTEXTS: usize = 3;

/// Least and most bytes of the cache of keys and values on the CPU by default. The least is for models with few
/// bytes per position.
const CACHE_BYTES: [usize; 2] = [64 << 20, 256 << 20];

/// A model with its caches.
#[derive(Debug)]
pub struct CandleBackend {
    model: Box<dyn Model>,
    caches: Vec<LayerCache>,
    /// Features `[length, C]` of recent visuals.
    features: LruCache<ContentHash, Rows, RandomState>,
    limits: Limits,
    figures: BackendFigures,
    gpu_memory: Option<GpuMemory>,
}

/// The memory that a backend allocates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Bytes of the cache of keys and values, over all ranks. `None` is all that is left on a GPU, and on the CPU
    /// [`CONTEXTS`] contexts within [`CACHE_BYTES`]. The cache always holds at least one whole context.
    pub(crate) cache_bytes: Option<usize>,
    /// Whether all memory that serving needs is allocated at the start instead of on first use.
    pub(crate) claimed: bool,
}

/// The largest steps that run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LargestSteps {
    /// The most tokens of a step.
    pub(crate) tokens: usize,
    /// The most sequences that run at once, each with at least one token in a step.
    pub(crate) sequences: usize,
}

impl CandleBackend {
    /// Allocates the caches of `model`, whose steps are at most `largest`. Where it is one rank of several, the
    /// ranks share the bytes of the cache equally.
    ///
    /// # Errors
    /// [`LoadError::CacheTooLarge`] when the GPU has less memory left than `memory` demands; [`LoadError::Gpu`] and
    /// [`LoadError::Tensor`] when a step or an allocation fails.
    pub(crate) fn new(
        mut model: Box<dyn Model>,
        memory: Memory,
        largest: LargestSteps,
    ) -> std::result::Result<Self, LoadError> {
        let (shard, device) = (model.rank().shard, model.device().clone());
        let text = model.own_text();
        let position_bytes = text.cache_bytes_per_position(device.number_bytes());
        let block_size = device.block_size();
        let one_context = text.context_length.div_ceil(block_size);
        let given_bytes = memory.cache_bytes.map(|bytes| bytes / shard.ranks());
        // The largest steps run before the cache is sized, so that their working memory is not given to the cache.
        let mut gpu_memory = match &device {
            ComputeDevice::Gpu(gpu) if memory.claimed || given_bytes.is_none() => {
                Some(gpu_memory::measure_gpu_memory(model.as_mut(), gpu, largest)?)
            }
            ComputeDevice::Gpu(_) | ComputeDevice::Kernels | ComputeDevice::Tensors(_) => None,
        };
        let contexts_bytes = || CONTEXTS * text.context_length * position_bytes;
        let cache_bytes = cache_bytes(given_bytes, gpu_memory, shard.ranks(), contexts_bytes)?;
        let block_count = (cache_bytes / position_bytes / block_size).max(one_context);
        let least = if given_bytes.is_none() && gpu_memory.is_some() { one_context } else { block_count };
        let (block_count, mut caches) = allocate_caches(&text, &device, least..=block_count)?;
        if memory.claimed {
            caches.iter_mut().try_for_each(LayerCache::claim)?;
        }
        let block_bytes = (position_bytes * block_size) as u64;
        if let (ComputeDevice::Gpu(gpu), Some(memory)) = (&device, &mut gpu_memory) {
            memory.cache = block_count as u64 * block_bytes;
            gpu_memory::tell(gpu, memory)?;
        }
        let limits = Limits {
            block_size,
            block_count,
            context_length: text.context_length,
            max_step_tokens: largest.tokens,
            efficient_step_tokens: efficient_step_tokens(&device).min(largest.tokens),
        };
        let figures = BackendFigures { block_bytes, ..BackendFigures::default() };
        let features = LruCache::unbounded_with_hasher(RandomState::new());
        Ok(Self { caches, features, limits, figures, gpu_memory, model })
    }

    /// How the memory of its GPU is divided; `None` on the CPU, and where it was not measured.
    pub(crate) fn gpu_memory(&self) -> Option<GpuMemory> {
        self.gpu_memory
    }

    /// The normalised hidden states `[T, C]` of every token of `batch`.
    ///
    /// # Errors
    /// [`candle_core::Error`] when the step fails.
    pub fn hidden(&mut self, batch: &Batch) -> Result<Tensor> {
        let hidden = self.decode(batch, TokensOf::Every)?;
        self.model.normalise(&hidden)?.into_tensor()
    }

    /// The logits `[rows, V]` of normalised hidden states `[rows, C]`.
    ///
    /// # Errors
    /// [`candle_core::Error`] when the computation fails.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let rows = self.model.logits(&self.model.device().rows(hidden)?)?;
        let count = rows.len();
        Tensor::from_vec(rows.concat(), (count, ()), &Device::Cpu)
    }

    /// The parts of the model.
    pub fn model(&self) -> &dyn ModelParts {
        self.model.as_ref()
    }

    /// Whether the checkpoint has a reward head.
    pub(crate) fn has_reward_head(&self) -> bool {
        self.model.has_reward_head()
    }

    /// Computes the features of those of `visuals` that are not cached, each once and all in one call of the model.
    fn encode(&mut self, visuals: &[Placed<'_>]) -> Result<()> {
        let mut new: Vec<&Visual> = Vec::new();
        let figures = &mut self.figures;
        for visual in visuals.iter().map(|placed| placed.visual) {
            if self.features.promote(&visual.hash) {
                figures.features.hits += 1;
            } else if !new.iter().any(|other| other.hash == visual.hash) {
                new.push(visual);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        figures.features.misses += new.len() as u64;
        let start = Instant::now();
        let made = self.model.feature_rows(&new)?;
        self.model.device().wait()?;
        figures.vision += start.elapsed();
        for (visual, features) in new.iter().zip(made) {
            self.features.put(visual.hash, features);
        }
        Ok(())
    }

    /// Evicts the least recently used features until the rest fit into [`FEATURE_BYTES`].
    fn forget_old_features(&mut self) {
        let mut total: usize = self.features.iter().map(|(_, features)| features.bytes()).sum();
        while total > FEATURE_BYTES {
            let Some((_, features)) = self.features.pop_lru() else { break };
            total -= features.bytes();
            self.figures.features.evictions += 1;
        }
        self.figures.features.bytes = total as u64;
    }

    /// The hidden states `[wanted, C]` of the wanted tokens of `batch`.
    fn decode(&mut self, batch: &Batch, wanted: TokensOf<'_>) -> Result<Rows> {
        let mut rows = self.model.embed(batch)?;
        let row_bytes = self.model.hidden_size() * self.model.device().number_bytes();
        let visuals = placed(batch);
        for visuals in visuals.chunk_by(together(row_bytes)) {
            self.encode(visuals)?;
            for Placed { visual, row, range } in visuals {
                let known = self.features.peek(&visual.hash);
                let features = known.expect("features of these visuals were made before");
                rows.copy(*row, features, range.clone())?;
            }
            self.forget_old_features();
        }
        self.model.decode(&mut rows, wanted, batch, &mut self.caches)?;
        Ok(rows)
    }

    /// The output of each chunk that wants one: the reward, or the logits of this rank's part of the vocabulary.
    fn run(&mut self, batch: &Batch) -> Result<Vec<StepOutput>> {
        let (wants, tokens) = wanted_tokens(batch);
        let hidden = self.decode(batch, TokensOf::These(&tokens))?;
        // The normalised hidden states of the chunks that want one kind of output; `None` where none does.
        let normed = |kind: Wants| -> Result<Option<Rows>> {
            let rows = (0..).zip(&wants).filter(|(_, wants)| **wants == kind);
            let rows: Vec<u32> = rows.map(|(row, _)| row).collect();
            match rows.len() {
                0 => Ok(None),
                count if count == wants.len() => self.model.normalise(&hidden).map(Some),
                _ => self.model.normalise(&hidden.pick(&rows)?).map(Some),
            }
        };
        let logits = match normed(Wants::Logits)? {
            Some(normed) => self.model.logits(&normed)?,
            None => Vec::new(),
        };
        let rewards = match normed(Wants::Reward)? {
            Some(normed) => self.model.rewards(&normed)?,
            None => Vec::new(),
        };
        if wants.is_empty() {
            // Reading a result waits for the device. Without one, wait here: a step is timed by when it returns.
            self.model.device().wait()?;
        }
        let (mut logits, mut rewards) = (logits.into_iter(), rewards.into_iter());
        let output = |wants: &Wants| {
            let output = match wants {
                Wants::Nothing => None, // left out of `wants`
                Wants::Logits => logits.next().map(StepOutput::Logits),
                Wants::Reward => rewards.next().map(StepOutput::Reward),
            };
            output.expect("an output was computed for each chunk that wants one")
        };
        Ok(wants.iter().map(output).collect())
    }
}

/// Bytes of the cache of one of `ranks` ranks: those that were asked for, or all that are left on its GPU, or on the
/// CPU those of [`CONTEXTS`] contexts within [`CACHE_BYTES`].
///
/// # Errors
/// [`LoadError::CacheTooLarge`] when more were asked for than are left.
fn cache_bytes(
    asked: Option<usize>,
    gpu_memory: Option<GpuMemory>,
    ranks: usize,
    contexts_bytes: impl Fn() -> usize,
) -> std::result::Result<usize, LoadError> {
    let left = gpu_memory.map(|memory| memory.cache);
    match (asked, left) {
        (Some(asked), Some(left)) if asked as u64 > left => Err(LoadError::CacheTooLarge {
            asked_mib: (asked * ranks) >> 20,
            left_mib: (left as usize * ranks) >> 20,
        }),
        (Some(asked), _) => Ok(asked),
        (None, Some(left)) => Ok(left as usize),
        (None, None) => {
            let [least, most] = CACHE_BYTES.map(|bytes| bytes / ranks);
            Ok(contexts_bytes().clamp(least, most))
        }
    }
}

/// Allocates the caches of all layers with the most blocks that fit, within the range `blocks`. Returns the number of
/// blocks and the caches.
fn allocate_caches(
    text: &DecoderConfig,
    device: &ComputeDevice,
    blocks: RangeInclusive<usize>,
) -> Result<(usize, Vec<LayerCache>)> {
    let caches = |blocks: usize| -> Result<Vec<LayerCache>> {
        (0..text.layers).map(|_| LayerCache::new(text.heads(), blocks, device)).collect()
    };
    let (least, most) = blocks.into_inner();
    gpu_memory::what_fits(most, least, caches)
}

/// For each chunk of `batch` that wants a result: what it wants, and the row of its last token in the step.
fn wanted_tokens(batch: &Batch) -> (Vec<Wants>, Vec<u32>) {
    let ends = batch.chunks.iter().scan(0, |end, chunk| {
        *end += chunk.tokens.len() as u32;
        Some((chunk.wants, *end - 1))
    });
    ends.filter(|(wants, _)| *wants != Wants::Nothing).unzip()
}

/// The fewest tokens per step at which throughput is about that of a full step.
fn efficient_step_tokens(device: &ComputeDevice) -> usize {
    match device {
        // Measured with weights in f32 and in eight bits: steps of 256 or 512 have no higher throughput, and steps
        // of 64 have a lower one where the weights are f32.
        ComputeDevice::Kernels => 128,
        // The matrix library divides products, and so sums, according to their size. The cost of smaller steps on a
        // GPU was not measured.
        ComputeDevice::Tensors(_) | ComputeDevice::Gpu(_) => usize::MAX,
    }
}

/// The part of a visual that lies in one chunk.
struct Placed<'a> {
    visual: &'a Visual,
    /// Row of its first feature in the step.
    row: usize,
    /// The range of its features.
    range: Range<usize>,
}

/// The parts of visuals in the chunks of a batch, in order.
fn placed(batch: &Batch) -> Vec<Placed<'_>> {
    let mut placed = Vec::new();
    let mut first = 0;
    for chunk in &batch.chunks {
        for visual in &chunk.visuals {
            let start = visual.start.max(chunk.start);
            let end = (visual.start + visual.length).min(chunk.end());
            let range = start - visual.start..end - visual.start;
            placed.push(Placed { visual, row: first + start - chunk.start, range });
        }
        first += chunk.tokens.len();
    }
    placed
}

/// A predicate for `chunk_by`, called for visuals in order: whether a visual joins the group of those before it,
/// because the features of the whole group, `row_bytes` each, fit into the cache ([`FEATURE_BYTES`]).
fn together(row_bytes: usize) -> impl FnMut(&Placed<'_>, &Placed<'_>) -> bool {
    let mut bytes = 0;
    move |before, visual| {
        bytes += before.visual.length * row_bytes;
        let fits = bytes + visual.visual.length * row_bytes <= FEATURE_BYTES;
        bytes = if fits { bytes } else { 0 };
        fits
    }
}

impl Backend for CandleBackend {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn forward(&mut self, batch: &Batch) -> std::result::Result<Vec<StepOutput>, BackendError> {
        let outputs = match self.model.device() {
            // A rank waits for the others, which a thread that shares loops must not do: it may be needed to run
            // one of them.
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) if self.model.rank().shard.is_whole() => {
                kernels::together(|| self.run(batch))
            }
            // One thread launches the kernels of a GPU, which have no CPU loops to share.
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) | ComputeDevice::Gpu(_) => self.run(batch),
        };
        outputs.map_err(|error| {
            // After some errors a GPU refuses all further work of this process, which must then be restarted.
            if let Err(lost) = self.model.device().wait() {
                panic!("the GPU is lost: {lost}");
            }
            BackendError::Compute(error.into())
        })
    }

    fn forget_features(&mut self) {
        self.features.clear();
        self.figures.features.bytes = 0;
    }

    fn figures(&self) -> BackendFigures {
        self.figures
    }
}
