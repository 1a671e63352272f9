//! Steps of a model on one device: features of images, the cache of keys and values, logits.

mod gpu_memory;

use std::{ops::Range, time::Instant};

use candle_core::{Device, Result, Tensor};
use critic::{
    Backend, BackendError, BackendFigures, Batch, ContentHash, GpuMemory, Limits, Logits, Visual, Wants,
};
use kernels::BLOCK_SIZE;

use crate::{
    architectures::{Model, ModelParts},
    error::LoadError,
    kv_cache::LayerCache,
    layers::{ComputeDevice, Rows},
};

/// Features of recent images are kept up to this many bytes, so that an image that is still being read in pieces, or
/// asked about again, goes through the tower once.
const FEATURE_BYTES: usize = 256 << 20;

/// Contexts for which the cache of keys and values of a processor has room where nobody says how many bytes it has, ...
const CONTEXTS: usize = 3;

/// ... which then are so many at least, for models whose positions are small, and at most.
const CACHE_BYTES: [usize; 2] = [64 << 20, 256 << 20];

/// A model with its cache.
#[derive(Debug)]
pub struct CandleBackend {
    model: Box<dyn Model>,
    caches: Vec<LayerCache>,
    /// Features `[length, C]` of recent visuals, the latest used last.
    features: Vec<(ContentHash, Rows)>,
    limits: Limits,
    figures: BackendFigures,
    gpu_memory: Option<GpuMemory>,
}

/// The memory that a backend gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Bytes of the cache of keys and values; none is as much as the device is for. One whole context has room in any case.
    pub(crate) cache_bytes: Option<usize>,
    /// Whether all that is needed to serve is taken at once, or as it is used.
    pub(crate) claimed: bool,
}

impl CandleBackend {
    /// Gives `model` its memory, and steps of `max_step_tokens`. Where it is one rank of several, they have the bytes of the
    /// cache together.
    pub(crate) fn new(
        mut model: Box<dyn Model>,
        memory: Memory,
        max_step_tokens: usize,
    ) -> std::result::Result<Self, LoadError> {
        let (shard, device) = (model.rank().shard, model.device().clone());
        let text = model.own_text();
        let position_bytes = text.cache_bytes_per_position(device.number_bytes());
        let one_context = text.context_length.div_ceil(BLOCK_SIZE);
        let given_bytes = memory.cache_bytes.map(|bytes| bytes / shard.ranks());
        // What serves under any load must have run its largest steps before the cache takes what they need.
        let mut gpu_memory = match &device {
            ComputeDevice::Gpu(gpu) if memory.claimed || given_bytes.is_none() => {
                Some(gpu_memory::share_out(model.as_mut(), gpu, max_step_tokens)?)
            }
            ComputeDevice::Gpu(_) | ComputeDevice::Kernels | ComputeDevice::Tensors(_) => None,
        };
        let cache_bytes = match (given_bytes, &gpu_memory) {
            (Some(asked), Some(GpuMemory { cache, .. })) if asked as u64 > *cache => {
                return Err(LoadError::CacheTooLarge {
                    asked_mib: asked >> 20,
                    left_mib: (cache >> 20) as usize,
                });
            }
            (Some(bytes), _) => bytes,
            (None, Some(left)) => left.cache as usize,
            (None, None) => {
                let [least, most] = CACHE_BYTES.map(|bytes| bytes / shard.ranks());
                (CONTEXTS * text.context_length * position_bytes).clamp(least, most)
            }
        };
        let block_count = (cache_bytes / position_bytes / BLOCK_SIZE).max(one_context);
        let (heads, layers) = (text.heads(), text.layers);
        let caches = |blocks: usize| -> Result<Vec<LayerCache>> {
            (0..layers).map(|_| LayerCache::new(heads, blocks, &device)).collect()
        };
        let (block_count, mut caches) = match (given_bytes, &gpu_memory) {
            (None, Some(_)) => gpu_memory::what_fits(block_count, one_context, caches)?,
            _ => (block_count, caches(block_count)?),
        };
        if memory.claimed {
            caches.iter_mut().try_for_each(LayerCache::claim)?;
        }
        let block_bytes = (position_bytes * BLOCK_SIZE) as u64;
        if let (ComputeDevice::Gpu(gpu), Some(memory)) = (&device, &mut gpu_memory) {
            memory.cache = block_count as u64 * block_bytes;
            gpu_memory::tell(gpu, memory)?;
        }
        let limits = Limits {
            block_size: BLOCK_SIZE,
            block_count,
            context_length: text.context_length,
            max_step_tokens,
            efficient_step_tokens: efficient_step_tokens(&device).min(max_step_tokens),
        };
        let figures = BackendFigures { block_bytes, ..BackendFigures::default() };
        Ok(Self { caches, features: Vec::new(), limits, figures, gpu_memory, model })
    }

    /// How the memory of its GPU is shared out, if it has one and serves.
    pub(crate) fn gpu_memory(&self) -> Option<GpuMemory> {
        self.gpu_memory
    }

    /// The normalised hidden states `[T, C]` of every token of `batch`.
    ///
    /// # Errors
    /// What the tensor library says.
    pub fn hidden(&mut self, batch: &Batch) -> Result<Tensor> {
        let hidden = self.decode(batch)?;
        self.model.normalise(&hidden)?.into_tensor()
    }

    /// The logits `[rows, V]` of normalised hidden states `[rows, C]`.
    ///
    /// # Errors
    /// What the tensor library says.
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

    /// Makes the features of those of `visuals` that are not known yet, each once, and some of them together.
    fn encode(&mut self, visuals: &[Placed<'_>]) -> Result<()> {
        let mut new: Vec<&Visual> = Vec::new();
        let figures = &mut self.figures;
        for visual in visuals.iter().map(|placed| placed.visual) {
            match self.features.iter().position(|(hash, _)| *hash == visual.hash) {
                Some(index) => {
                    self.features[index..].rotate_left(1);
                    figures.features.hits += 1;
                }
                None if new.iter().any(|other| other.hash == visual.hash) => {}
                None => new.push(visual),
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
        self.features.extend(new.iter().map(|visual| visual.hash).zip(made));
        Ok(())
    }

    /// Drops the features used longest ago until the rest fits.
    fn forget_old_features(&mut self) {
        let mut total: usize = self.features.iter().map(|(_, features)| features.bytes()).sum();
        while total > FEATURE_BYTES {
            total -= self.features.remove(0).1.bytes();
            self.figures.features.evictions += 1;
        }
        self.figures.features.bytes = total as u64;
    }

    /// The hidden states `[T, C]` of every token of `batch`.
    fn decode(&mut self, batch: &Batch) -> Result<Rows> {
        let mut rows = self.model.embed(batch)?;
        let row_bytes = self.model.hidden_size() * self.model.device().number_bytes();
        let visuals = placed(batch);
        for visuals in visuals.chunk_by(together(row_bytes)) {
            self.encode(visuals)?;
            for Placed { visual, row, range } in visuals {
                let known = self.features.iter().find(|(known, _)| *known == visual.hash);
                let features = &known.expect("features of these visuals were made before").1;
                rows.copy(*row, features, range.clone())?;
            }
            self.forget_old_features();
        }
        self.model.decode(&mut rows, batch, &mut self.caches)?;
        Ok(rows)
    }

    /// What each chunk wants of its last token: the reward, or the logits of this rank's part of the vocabulary.
    fn run(&mut self, batch: &Batch) -> Result<Vec<Logits>> {
        let hidden = self.decode(batch)?;
        let (mut wanted, mut end) = (Vec::new(), 0);
        for chunk in &batch.chunks {
            end += chunk.tokens.len();
            if chunk.wants != Wants::Nothing {
                wanted.push((chunk.wants, end as u32 - 1));
            }
        }
        let of = |kind: Wants| -> Result<std::vec::IntoIter<Logits>> {
            let wanted = wanted.iter().filter(|(wants, _)| *wants == kind);
            let last: Vec<u32> = wanted.map(|(_, row)| *row).collect();
            if last.is_empty() {
                return Ok(Vec::new().into_iter());
            }
            let rows = self.model.normalise(&hidden.pick(&last)?)?;
            let read =
                if kind == Wants::Reward { self.model.rewards(&rows)? } else { self.model.logits(&rows)? };
            Ok(read.into_iter())
        };
        let (mut logits, mut rewards) = (of(Wants::Logits)?, of(Wants::Reward)?);
        if wanted.is_empty() {
            // Nothing was read that would have waited: what a step takes is told by when it returns.
            self.model.device().wait()?;
        }
        let row = |(wants, _): &(Wants, u32)| {
            let rows = if *wants == Wants::Reward { &mut rewards } else { &mut logits };
            rows.next().expect("a row was read for each chunk that wants one")
        };
        Ok(wanted.iter().map(row).collect())
    }
}

/// How many tokens a step needs to run about as many each second as a long one.
fn efficient_step_tokens(device: &ComputeDevice) -> usize {
    match device {
        // Measured with weights in f32 and in eight bits: no more tokens run each second in steps of 256 or 512, and fewer
        // in steps of 64 where the weights are f32.
        ComputeDevice::Kernels => 128,
        // The library cuts a product by its size, and so its sums; what fewer tokens cost a GPU was not measured.
        ComputeDevice::Tensors(_) | ComputeDevice::Gpu(_) => usize::MAX,
    }
}

/// A part of a visual that belongs into a step.
struct Placed<'a> {
    visual: &'a Visual,
    /// The first of its rows in the step.
    row: usize,
    /// Which of its features.
    range: Range<usize>,
}

/// The visuals of a batch, in order.
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

/// Whether a visual goes with those before it, for visuals asked about in order: their features together, `row_bytes` each, are
/// no more than what is kept.
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

    fn forward(&mut self, batch: &Batch) -> std::result::Result<Vec<Logits>, BackendError> {
        let logits = match self.model.device() {
            // A rank waits for others, which a thread that shares loops must not: it might have to run the other.
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) if self.model.rank().shard.is_whole() => {
                kernels::together(|| self.run(batch))
            }
            // A GPU is asked by one thread and has no loops to share.
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) | ComputeDevice::Gpu(_) => self.run(batch),
        };
        let logits = logits.map_err(|error| {
            // After some errors a GPU does nothing more for this process, which then must be replaced.
            if let Err(lost) = self.model.device().wait() {
                panic!("the GPU is lost: {lost}");
            }
            BackendError::Compute(error.into())
        })?;
        // All are looked at: a loop that may end early looks at one at a time.
        let finite = |row: &Logits| row.iter().fold(true, |all, logit| all & logit.is_finite());
        if !logits.iter().all(finite) {
            // Numbers that are none might be in what is kept of an image, and everybody who asks about it would fail as well.
            self.features.clear();
            return Err(BackendError::NonFinite);
        }
        Ok(logits)
    }

    fn figures(&self) -> BackendFigures {
        self.figures
    }
}
