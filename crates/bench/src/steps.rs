//! How long steps of a model take, by their kind and size, beside what they would take at the machine's limits.
//!
//! Nothing but the model runs: no engine, no server. Of random weights the times are those of trained ones.

use std::{
    error::Error,
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use critic::{
    Backend, BackendError, Batch, BlockId, Chunk, Critic, ModelSize, Packing, SequenceId, Tiles, TokenId,
    Visual, Wants,
};

use crate::{
    bounds::{Bounds, MachineLimits, Widths},
    compare::Extent,
    machine::Machine,
    steps_report::{StepFigure, StepKind, StepsReport},
};

/// Each step is run until it took so long altogether, but at least a few times.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// Steps that are not counted: the first ones find memory that was not touched, and kernels that were not loaded.
const WARMING: usize = 3;

/// What is measured beside the model itself.
#[derive(Debug, Clone)]
pub struct StepsOptions {
    /// What the model is called.
    pub model: String,
    /// On what it runs.
    pub device: String,
    /// Of what it is made.
    pub size: ModelSize,
    /// How its weights and its cache are kept.
    pub widths: Widths,
    /// What the machine or GPU can do at most.
    pub limits: MachineLimits,
    /// How much is measured.
    pub extent: Extent,
}

/// Single tokens of several sequences that have seen so many positions.
#[derive(Debug, Clone, Copy)]
struct Decode {
    sequences: usize,
    context: usize,
}

/// Pieces of prompts of several sequences that share so many positions before.
#[derive(Debug, Clone, Copy)]
struct Prefill {
    sequences: usize,
    tokens: usize,
    shared: usize,
}

/// Measures. Blocks. Where a step fails, the report has what was measured before, and why there is no more.
pub fn steps(critic: &mut Critic, options: &StepsOptions) -> StepsReport {
    let bounds = Bounds { limits: options.limits, size: options.size };
    let bench = Bench { bounds, widths: options.widths, extent: options.extent };
    let mut figures = Vec::new();
    let measured = bench.measure(critic.backend.as_mut(), &mut figures);
    StepsReport {
        benchmark: "steps",
        machine: Machine::here(),
        device: options.device.clone(),
        model: options.model.clone(),
        widths: options.widths,
        limits: options.limits,
        figures,
        failure: measured.err().map(|error| with_causes(&error)),
    }
}

struct Bench {
    bounds: Bounds,
    widths: Widths,
    extent: Extent,
}

impl Bench {
    /// Adds a figure for each kind and size that there is room for.
    fn measure(&self, backend: &mut dyn Backend, figures: &mut Vec<StepFigure>) -> Result<(), BackendError> {
        let limits = backend.limits();
        let positions = limits.block_count * limits.block_size;
        let (sequences, contexts, prompts, tiles): (&[usize], &[usize], &[usize], &[usize]) =
            match self.extent {
                Extent::Full => {
                    (&[1, 2, 4, 8, 16, 32, 64], &[1024, 8192], &[64, 128, 256, 512, 2048, 4096], &[1, 8, 10])
                }
                Extent::Quick => (&[1, 2], &[64], &[128], &[1]),
            };
        for context in contexts {
            for sequences in sequences {
                let decode = Decode { sequences: *sequences, context: *context };
                if decode.context < limits.context_length
                    && sequences * (context + limits.block_size) <= positions
                {
                    figures.push(self.decode(backend, decode)?);
                }
            }
        }
        let most = limits.max_step_tokens.min(limits.context_length).min(positions);
        for tokens in prompts.iter().filter(|tokens| **tokens <= most) {
            figures.push(self.prefill(backend, Prefill { sequences: 1, tokens: *tokens, shared: 0 })?);
        }
        // What a round robin of responses to one image is made of.
        let judging = Prefill { sequences: 16, tokens: 128, shared: 2048 };
        let fits = judging.sequences * judging.tokens <= most
            && judging.shared + judging.tokens <= limits.context_length;
        if self.extent == Extent::Full && fits {
            figures.push(self.prefill(backend, judging)?);
        }
        for tiles in tiles {
            figures.push(self.images(backend, *tiles)?);
        }
        Ok(())
    }

    fn decode(&self, backend: &mut dyn Backend, decode: Decode) -> Result<StepFigure, BackendError> {
        let block_size = backend.limits().block_size;
        let blocks = (decode.context + 1).div_ceil(block_size);
        let chunk = |index: usize| {
            let blocks = (index * blocks..(index + 1) * blocks).map(|block| BlockId(block as u32));
            chunk(index, (decode.context, 1), blocks.collect())
        };
        let batch = Batch { chunks: (0..decode.sequences).map(chunk).collect() };
        let times = self.times(|_| time(backend, &batch))?;
        let (sequences, context) = (decode.sequences as f64, decode.context as f64);
        Ok(StepFigure::new(
            (StepKind::Decode, format!("{sequences} x 1 after {context}")),
            (sequences, times),
            self.bounds.decode_per_s(self.widths, sequences, context),
        ))
    }

    fn prefill(&self, backend: &mut dyn Backend, prefill: Prefill) -> Result<StepFigure, BackendError> {
        let Prefill { sequences, tokens, shared } = prefill;
        let block_size = backend.limits().block_size;
        let (before, own) = (shared.div_ceil(block_size), tokens.div_ceil(block_size) + 1);
        let chunk = |index: usize| {
            let own = before + index * own..before + (index + 1) * own;
            let blocks = (0..before).chain(own).map(|block| BlockId(block as u32));
            chunk(index, (shared, tokens), blocks.collect())
        };
        let batch = Batch { chunks: (0..sequences).map(chunk).collect() };
        let times = self.times(|_| time(backend, &batch))?;
        let (all, seen) = ((sequences * tokens) as f64, shared as f64 + tokens as f64 / 2.0);
        let least_s = self.bounds.seconds(self.bounds.operations(all, seen));
        Ok(StepFigure::new(
            (StepKind::Prefill, format!("{sequences} x {tokens} after {shared}")),
            (all, times),
            all / least_s,
        ))
    }

    /// Images of one tile each, which go through the tower together; what they take is told by the backend.
    fn images(&self, backend: &mut dyn Backend, tiles: usize) -> Result<StepFigure, BackendError> {
        let size = self.bounds.size;
        let length = size.patches + 1;
        let image =
            Arc::new(Tiles { size: size.tile_size, pixels: vec![127; 3 * size.tile_size * size.tile_size] });
        let times = self.times(|round| {
            let visual = |index: usize| {
                // No other image of the whole run has it: features that are known are not made.
                let mut hash = [0; 32];
                for (place, number) in hash.chunks_exact_mut(8).zip([tiles, round, index]) {
                    place.copy_from_slice(&(number as u64).to_le_bytes());
                }
                Visual { start: index, length, tiles: Arc::clone(&image), packing: Packing::Single, hash }
            };
            // One position of each: the features are made whole.
            let mut batch = Batch { chunks: vec![chunk(0, (0, tiles), vec![BlockId(0)])] };
            batch.chunks[0].visuals = (0..tiles).map(|index| Visual { length: 1, ..visual(index) }).collect();
            let before = backend.figures().vision;
            backend.forward(&batch)?;
            Ok(backend.figures().vision.saturating_sub(before))
        })?;
        let tiles = tiles as f64;
        Ok(StepFigure::new(
            (StepKind::Images, format!("{tiles} tiles")),
            (tiles, times),
            tiles / self.bounds.image_s(tiles),
        ))
    }

    /// The times of one step; `run` is told how often it was called.
    fn times(
        &self,
        mut run: impl FnMut(usize) -> Result<Duration, BackendError>,
    ) -> Result<Vec<Duration>, BackendError> {
        let (least, long_enough) = match self.extent {
            Extent::Full => (5, LONG_ENOUGH),
            Extent::Quick => (1, Duration::ZERO),
        };
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
}

/// An error and what caused it.
fn with_causes(error: &dyn Error) -> String {
    let errors = iter::successors(Some(error), |&error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn time(backend: &mut dyn Backend, batch: &Batch) -> Result<Duration, BackendError> {
    let start = Instant::now();
    backend.forward(batch)?;
    Ok(start.elapsed())
}

fn chunk(index: usize, (start, length): (usize, usize), block_table: Vec<BlockId>) -> Chunk {
    Chunk {
        sequence: SequenceId(index as u64),
        tokens: vec![TokenId(0); length],
        start,
        block_table,
        visuals: Vec::new(),
        wants: Wants::Logits,
    }
}
