//! How long steps of a model take, by kind and size, compared with the machine's limits.
//!
//! Only the model runs, without engine and server. Random weights take as long as trained ones. Tokens and
//! images are random too: a GPU draws less power for equal numbers, and runs at a higher clock than with real
//! data.

mod bounds;
mod plan;
mod report;

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use critic::{
    Backend, BackendError, Batch, BlockId, Chunk, Critic, Medium, ModelSize, SequenceId, Tiles, TokenId,
    Visual, Wants,
};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

use crate::{error::with_causes, extent::Extent, machine::Machine, weight_form::Widths};
pub(crate) use bounds::Bounds;
pub use bounds::MachineLimits;
#[cfg(test)]
pub(crate) use bounds::TINY;
pub use plan::StepKind;
use plan::{Step, plan};
pub use report::{MemoryShares, StepFigure, StepsReport};

/// Each step is repeated until it took this long in total, and at least five times.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// Steps that are not counted: the first ones touch new memory and load kernels.
const WARMING: usize = 3;

/// The time limit for filling the cache before anything reads it. The rest keeps the backend's initial content.
const FILLING: Duration = Duration::from_secs(10);

/// Options of the steps benchmark.
#[derive(Debug, Clone)]
pub struct StepsOptions {
    /// The model's name.
    pub model: String,
    /// The device's name.
    pub device: String,
    /// The model's dimensions.
    pub size: ModelSize,
    /// The storage sizes of its weights and its cache.
    pub widths: Widths,
    /// The limits of the machine or GPU.
    pub limits: MachineLimits,
    /// How much is measured.
    pub extent: Extent,
}

/// Measures steps. Blocks. After each step `keep` receives the report so far, so that it is not lost if the
/// process is killed during the next one. A step that fails is noted in the report, and the others are still
/// measured.
pub fn steps(critic: &mut Critic, options: &StepsOptions, keep: &mut dyn FnMut(&StepsReport)) -> StepsReport {
    let bounds = Bounds { limits: options.limits, size: options.size };
    let bench = Bench { bounds, widths: options.widths, extent: options.extent };
    let mut report = StepsReport {
        benchmark: "steps",
        machine: Machine::here(),
        device: options.device.clone(),
        model: options.model.clone(),
        widths: options.widths,
        limits: options.limits,
        gpu_memory: critic.gpu_memory.map(MemoryShares::from),
        figures: Vec::new(),
        failures: Vec::new(),
    };
    let backend = critic.backend.as_mut();
    let steps = plan(options.extent, backend.limits());
    if let Err(error) = bench.fill(backend, &steps) {
        report.failed("filling the cache", &with_causes(&error));
    }
    for step in steps {
        match bench.measure(backend, step) {
            Ok(figure) => report.measured(figure),
            Err(error) => report.failed(&step.setting(), &with_causes(&error)),
        }
        keep(&report);
    }
    report
}

struct Bench {
    bounds: Bounds,
    widths: Widths,
    extent: Extent,
}

impl Bench {
    /// Writes keys and values of random tokens to the blocks that the steps read, within a time limit.
    fn fill(&self, backend: &mut dyn Backend, steps: &[Step]) -> Result<(), BackendError> {
        let limits = backend.limits();
        let blocks = steps.iter().map(|step| step.blocks(limits.block_size)).max().unwrap_or(0);
        let at_once = limits.efficient_step_tokens.min(limits.context_length) / limits.block_size;
        let (start, at_once) = (Instant::now(), at_once.max(1));
        for first in (0..blocks).step_by(at_once) {
            if start.elapsed() > FILLING {
                tracing::info!(blocks, filled = first, "the rest of the cache stays as it is");
                break;
            }
            let table = block_ids(first..blocks.min(first + at_once));
            let tokens = table.len() * limits.block_size;
            let chunk = Chunk { wants: Wants::Nothing, ..self.chunk(first, 0..tokens, table) };
            backend.forward(&Batch { chunks: vec![chunk] })?;
        }
        Ok(())
    }

    fn measure(&self, backend: &mut dyn Backend, step: Step) -> Result<StepFigure, BackendError> {
        let times = match step {
            Step::Decode { .. } | Step::Prefill { .. } => {
                let batch = Batch { chunks: self.chunks(step, backend.limits().block_size) };
                self.times(|_| time(backend, &batch))?
            }
            Step::Images { tiles } => self.images(backend, tiles)?,
        };
        Ok(StepFigure::new(step, &times, self.limit_per_s(step)))
    }

    /// Tokens or tiles per second of a step at the machine's limits.
    fn limit_per_s(&self, step: Step) -> f64 {
        let count = step.count() as f64;
        match step {
            Step::Decode { sequences, context } => {
                self.bounds.decode_per_s(self.widths, sequences as f64, context as f64)
            }
            Step::Prefill { tokens, shared, .. } => {
                let seen = shared as f64 + tokens as f64 / 2.0;
                count / self.bounds.seconds(self.bounds.operations(count, seen))
            }
            Step::Images { .. } => count / self.bounds.image_s(count),
        }
    }

    /// The chunks of a step, without images.
    fn chunks(&self, step: Step, block_size: usize) -> Vec<Chunk> {
        match step {
            Step::Decode { sequences, context } => {
                let own = (context + 1).div_ceil(block_size);
                let chunk = |index: usize| {
                    self.chunk(index, context..context + 1, block_ids(index * own..(index + 1) * own))
                };
                (0..sequences).map(chunk).collect()
            }
            Step::Prefill { sequences, tokens, shared } => {
                let (before, own) = (shared.div_ceil(block_size), tokens.div_ceil(block_size));
                let chunk = |index: usize| {
                    let mut blocks = block_ids(0..before);
                    blocks.extend(block_ids(before + index * own..before + (index + 1) * own));
                    self.chunk(index, shared..shared + tokens, blocks)
                };
                (0..sequences).map(chunk).collect()
            }
            // One position for each image.
            Step::Images { tiles } => vec![self.chunk(0, 0..tiles, block_ids(0..1))],
        }
    }

    /// Images of noise, one tile each, which pass through the tower together; the backend reports the time.
    fn images(&self, backend: &mut dyn Backend, tiles: usize) -> Result<Vec<Duration>, BackendError> {
        let side = self.bounds.size.tile_size;
        let mut pixels = vec![0; 3 * side * side];
        StdRng::seed_from_u64(0).fill_bytes(&mut pixels);
        let image = Arc::new(Tiles { size: side, pixels });
        self.times(|round| {
            let visual = |index: usize| {
                // The hash is unique within the run: features of a known image would be taken from the cache.
                let mut hash = [0; 32];
                for (place, number) in hash.chunks_exact_mut(8).zip([tiles, round, index]) {
                    place.copy_from_slice(&(number as u64).to_le_bytes());
                }
                // The prompt has one position per image; the features are still computed completely.
                let medium = Medium::Image { height: side, width: side };
                Visual { start: index, length: 1, tiles: Arc::clone(&image), medium, hash }
            };
            let mut chunks = self.chunks(Step::Images { tiles }, backend.limits().block_size);
            chunks[0].visuals = (0..tiles).map(visual).collect();
            let before = backend.figures().vision;
            backend.forward(&Batch { chunks })?;
            Ok(backend.figures().vision.saturating_sub(before))
        })
    }

    /// Times one step repeatedly; `run` gets the number of earlier calls.
    fn times(
        &self,
        mut run: impl FnMut(usize) -> Result<Duration, BackendError>,
    ) -> Result<Vec<Duration>, BackendError> {
        let (least, long_enough) = self.extent.choose((5, LONG_ENOUGH), (1, Duration::ZERO));
        let mut round = 0;
        while round < WARMING {
            run(round)?;
            round += 1;
        }
        let (mut times, mut sum) = (Vec::new(), Duration::ZERO);
        while times.len() < least || sum < long_enough {
            let time = run(round)?;
            round += 1;
            sum += time;
            times.push(time);
        }
        Ok(times)
    }

    /// A chunk of random tokens at these positions, which are the same for each call with the same index.
    fn chunk(&self, index: usize, positions: Range<usize>, block_table: Vec<BlockId>) -> Chunk {
        let mut random = StdRng::seed_from_u64(index as u64);
        let vocabulary = self.bounds.size.vocabulary.max(1) as u32;
        Chunk {
            sequence: SequenceId(index as u64),
            start: positions.start,
            tokens: positions.map(|_| TokenId(random.random_range(0..vocabulary))).collect(),
            block_table,
            visuals: Vec::new(),
            wants: Wants::Logits,
        }
    }
}

fn block_ids(blocks: Range<usize>) -> Vec<BlockId> {
    blocks.map(|block| BlockId(block as u32)).collect()
}

fn time(backend: &mut dyn Backend, batch: &Batch) -> Result<Duration, BackendError> {
    let start = Instant::now();
    backend.forward(batch)?;
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::{Mutex, PoisonError},
    };

    use critic::{GpuMemory, Limits, StepOutput};

    use super::*;
    use crate::null_critic::null_critic;

    /// Computes nothing, records the tokens and pixels that it gets, and fails at steps of two sequences.
    struct Failing(Arc<Mutex<(BTreeSet<u32>, BTreeSet<u8>)>>);

    impl Backend for Failing {
        fn limits(&self) -> Limits {
            Limits {
                block_size: 32,
                block_count: 64,
                context_length: 1024,
                max_step_tokens: 512,
                efficient_step_tokens: 128,
            }
        }

        fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for chunk in &batch.chunks {
                seen.0.extend(chunk.tokens.iter().map(|token| token.0));
                seen.1.extend(chunk.visuals.iter().flat_map(|visual| visual.tiles.pixels.iter().copied()));
            }
            if batch.chunks.len() == 2 { Err(BackendError::NonFinite) } else { Ok(Vec::new()) }
        }
    }

    #[test]
    fn a_step_that_fails_is_noted_and_the_others_are_measured_and_kept_one_by_one() {
        let seen = Arc::default();
        let mut critic = Critic {
            backend: Box::new(Failing(Arc::clone(&seen))),
            gpu_memory: Some(GpuMemory { weights: 7, ..GpuMemory::default() }),
            ..null_critic()
        };
        let size = ModelSize { vocabulary: 500, tile_size: 16, ..TINY };
        let options = StepsOptions {
            model: "m".to_owned(),
            device: "d".to_owned(),
            size,
            widths: Widths { layer_bits: 16.0, head_bits: 16.0, cached_bytes: 2.0 },
            limits: MachineLimits { reading_gb_per_s: 1.0, arithmetic_gflops: 1.0 },
            extent: Extent::Quick,
        };
        let mut kept = Vec::new();
        let report = steps(&mut critic, &options, &mut |report| {
            kept.push(report.figures.len() + report.failures.len());
        });
        let settings: Vec<_> = report.figures.iter().map(|figure| figure.setting.as_str()).collect();
        assert_eq!(settings, ["1 x 1 after 64", "1 x 128 after 0", "1 tiles"]);
        assert_eq!((report.failures.len(), kept), (1, vec![1, 2, 3, 4]));
        assert!(report.failures[0].starts_with("2 x 1 after 64: "), "{:?}", report.failures);
        assert_eq!(report.gpu_memory.map(|memory| memory.weights), Some(7));

        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, pixels) = &*seen;
        assert!(tokens.len() > 50 && tokens.iter().all(|token| *token < 500), "{tokens:?}");
        assert!(pixels.len() > 50, "{pixels:?}");
    }
}
