//! Steps of a model on one device: features of pictures, the cache of keys and values, logits.

use std::time::Instant;

use candle_core::{Device, Result, Tensor};
use critic::{Backend, BackendError, BackendFigures, Batch, ContentHash, Limits, Logits, Visual, Wants};
use kernels::{BLOCK_SIZE, Heads};

use crate::{architectures::llava_onevision::Model, error::LoadError, kv_cache::LayerCache, layers::Rows};

/// Features of recent pictures are kept up to this many bytes, so that a picture that is still being read in pieces, or
/// asked about again, goes through the tower once.
const FEATURE_BYTES: usize = 256 << 20;

/// Bytes of the cache of keys and values, where nobody says how many.
const CACHE_BYTES: usize = 256 << 20;

/// A model with its cache.
#[derive(Debug)]
pub struct CandleBackend {
    model: Model,
    caches: Vec<LayerCache>,
    /// Features `[length, C]` of recent visuals, the latest used last.
    features: Vec<(ContentHash, Rows)>,
    limits: Limits,
    figures: BackendFigures,
}

impl CandleBackend {
    /// Gives `model` a cache of `cache_bytes`, but at least one whole context, and steps of `max_step_tokens`.
    pub(crate) fn new(
        model: Model,
        cache_bytes: Option<usize>,
        max_step_tokens: usize,
    ) -> std::result::Result<Self, LoadError> {
        let text = &model.anatomy().text;
        let place = model.place();
        let position_bytes = text.cache_bytes_per_position(place.number_bytes());
        let one_context = text.context_length.div_ceil(BLOCK_SIZE);
        let cache_bytes = cache_bytes.unwrap_or(CACHE_BYTES);
        let block_count = (cache_bytes / position_bytes / BLOCK_SIZE).max(one_context);
        let heads = Heads { heads: text.heads, kv_heads: text.kv_heads, size: text.head_size };
        let caches: Result<Vec<LayerCache>> =
            (0..text.layers).map(|_| LayerCache::new(heads, block_count, place)).collect();
        let limits = Limits {
            block_size: BLOCK_SIZE,
            block_count,
            context_length: text.context_length,
            max_step_tokens,
        };
        let block_bytes = (position_bytes * BLOCK_SIZE) as u64;
        let figures = BackendFigures { block_bytes, ..BackendFigures::default() };
        Ok(Self { caches: caches?, features: Vec::new(), limits, figures, model })
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
        let rows = self.model.logits(&self.model.place().rows(hidden)?)?;
        let count = rows.len();
        Tensor::from_vec(rows.concat(), (count, ()), &Device::Cpu)
    }

    /// The model itself.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Makes the features of the visuals of `batch` that are not known yet, all of them together and each once.
    fn encode_visuals(&mut self, batch: &Batch) -> Result<()> {
        let mut new: Vec<&Visual> = Vec::new();
        let figures = &mut self.figures;
        for visual in batch.chunks.iter().flat_map(|chunk| &chunk.visuals) {
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
        self.encode_visuals(batch)?;
        let mut rows = self.model.embed(batch, |hash| {
            let known = self.features.iter().find(|(known, _)| known == hash);
            &known.expect("features of every visual of the batch were made before").1
        })?;
        self.forget_old_features();
        self.model.decode(&mut rows, batch, &mut self.caches)?;
        Ok(rows)
    }

    /// What each chunk wants of its last token.
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
            let places = wanted.iter().filter(|(wants, _)| *wants == kind);
            let places: Vec<u32> = places.map(|(_, place)| *place).collect();
            if places.is_empty() {
                return Ok(Vec::new().into_iter());
            }
            let rows = self.model.normalise(&hidden.pick(&places)?)?;
            let read =
                if kind == Wants::Reward { self.model.rewards(&rows)? } else { self.model.logits(&rows)? };
            Ok(read.into_iter())
        };
        let (mut logits, mut rewards) = (of(Wants::Logits)?, of(Wants::Reward)?);
        let row = |(wants, _): &(Wants, u32)| {
            let rows = if *wants == Wants::Reward { &mut rewards } else { &mut logits };
            rows.next().expect("a row was read for each chunk that wants one")
        };
        Ok(wanted.iter().map(row).collect())
    }
}

impl Backend for CandleBackend {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn forward(&mut self, batch: &Batch) -> std::result::Result<Vec<Logits>, BackendError> {
        let logits = kernels::together(|| self.run(batch));
        let logits = logits.map_err(|error| BackendError::Compute(error.into()))?;
        // All are looked at: a loop that may end early looks at one at a time.
        let finite = |row: &Logits| row.iter().fold(true, |all, logit| all & logit.is_finite());
        if !logits.iter().all(finite) {
            return Err(BackendError::NonFinite);
        }
        Ok(logits)
    }

    fn figures(&self) -> BackendFigures {
        self.figures
    }
}
