//! Prints how long steps of a checkpoint take. Arguments: the folder of a checkpoint, then `stored` (the default),
//! `f32`, `q8` or `q4`. Tokens and images are synthetic.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::{sync::Arc, time::Instant};

use critic::{Backend, Batch, BlockId, Chunk, Medium, SequenceId, Tiles, TokenId, Visual};
use critic_candle::{CandleBackend, Checkpoint, Options, Source, WeightForm};

/// Tokens of the prompt, and tokens of each step in which it is prefilled.
const PROMPT: usize = 1024;
const STEP: usize = 512;

/// Tokens that are decoded after the prompt.
const WRITTEN: usize = 64;

/// Sequences that decode together.
const TOGETHER: usize = 8;

/// Tiles of the image, which are its base tile and a grid of two by two, and pixels along a tile's side.
const TILES: usize = 5;
const SIDE: usize = 384;

/// Rounds in which the prompt and the image are run. The median of all times of a kind is printed.
const ROUNDS: usize = 7;

/// Times of each kind, in milliseconds.
#[derive(Default)]
struct Times {
    /// The prompt.
    reading: Vec<f64>,
    /// A token of one sequence.
    alone: Vec<f64>,
    /// A token of each of [`TOGETHER`] sequences.
    together: Vec<f64>,
    /// The image.
    seeing: Vec<f64>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("the first argument is the folder of a checkpoint")?;
    let weights = match arguments.next().as_deref() {
        None | Some("stored") => WeightForm::Stored,
        Some("f32") => WeightForm::F32,
        Some("q8") => WeightForm::Q8,
        Some("q4") => WeightForm::Q4,
        Some(other) => return Err(format!("{other} is no form of weights").into()),
    };
    let begin = Instant::now();
    let options = Options { weights, ..Options::new(Source::Folder(folder.into())) };
    let mut backend = Checkpoint::load(&options)?.backend;
    let load = begin.elapsed().as_secs_f64();
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        round(&mut backend, &mut times)?;
    }
    println!("{weights:?}: loaded in {load:.2} s");
    println!("  prompt of {PROMPT}      {:8.2} ms", median(times.reading));
    println!("  token of 1           {:8.3} ms", median(times.alone));
    println!("  tokens of {TOGETHER}          {:8.3} ms", median(times.together));
    println!("  image of {TILES} tiles     {:8.2} ms", median(times.seeing));
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn round(backend: &mut CandleBackend, times: &mut Times) -> Result<(), Box<dyn std::error::Error>> {
    let mut run = |chunks| milliseconds(|| backend.forward(&Batch { chunks }).map(drop));
    // The prompts of the other sequences stay in the cache after the first round.
    let sequences = if times.reading.is_empty() { TOGETHER } else { 1 };
    for sequence in 0..sequences {
        let steps = (0..PROMPT).step_by(STEP).map(|start| run(vec![chunk(sequence, start, STEP)]));
        let reading = steps.sum::<Result<f64, _>>()?;
        if sequence == 0 {
            times.reading.push(reading);
        }
    }
    for start in PROMPT..PROMPT + WRITTEN {
        times.alone.push(run(vec![chunk(0, start, 1)])?);
        times.together.push(run((0..TOGETHER).map(|sequence| chunk(sequence, start, 1)).collect())?);
    }
    let pixels = (0..TILES * SIDE * SIDE * 3).map(|index| (index * 7 % 251) as u8).collect();
    let tiles = Arc::new(Tiles { size: SIDE, pixels });
    let medium = Medium::Image { height: 2 * SIDE, width: 2 * SIDE };
    let visual = Visual { start: 0, length: 0, tiles, medium, hash: [0; 32] };
    times.seeing.push(milliseconds(|| backend.model().features(&[&visual]).map(drop))?);
    Ok(())
}

fn milliseconds<E>(work: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

fn chunk(sequence: usize, start: usize, count: usize) -> Chunk {
    let blocks = ((PROMPT + WRITTEN).div_ceil(32)) as u32;
    let first = sequence as u32 * blocks;
    Chunk {
        sequence: SequenceId(sequence as u64),
        tokens: (start..start + count).map(|index| TokenId((index * 7 % 300) as u32)).collect(),
        start,
        block_table: (first..first + blocks).map(BlockId).collect(),
        visuals: Vec::new(),
        wants: critic::Wants::Logits,
    }
}
