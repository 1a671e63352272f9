//! Prints how many tokens a second a checkpoint reads and writes: the folder is the first argument, `stored`, `f32`,
//! `q8` or `q4` the second. The tokens are any.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::Instant;

use critic::{Backend, Batch, BlockId, Chunk, SequenceId, TokenId};
use critic_candle::{CandleBackend, Checkpoint, Options, Source, WeightForm};

/// Tokens of the prompt, which run in steps of this many.
const PROMPT: usize = 1024;
const STEP: usize = 512;

/// Tokens that are written after it.
const WRITTEN: usize = 64;

/// Of so many rounds the median counts.
const ROUNDS: usize = 5;

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
    let mut rounds = (0..ROUNDS).map(|_| round(&mut backend)).collect::<Result<Vec<_>, _>>()?;
    let mut median = |part: fn(&[f64; 2]) -> f64| {
        rounds.sort_by(|a, b| part(a).total_cmp(&part(b)));
        part(&rounds[ROUNDS / 2])
    };
    let (reading, writing) = (median(|round| round[0]), median(|round| round[1]));
    println!(
        "{weights:?}: loaded in {load:.2} s, prompt {reading:.0} tokens/s, answer {writing:.1} tokens/s"
    );
    Ok(())
}

/// One prompt and one answer: tokens a second of each.
fn round(backend: &mut CandleBackend) -> Result<[f64; 2], critic::BackendError> {
    let begin = Instant::now();
    for start in (0..PROMPT).step_by(STEP) {
        backend.forward(&batch(start, STEP))?;
    }
    let reading = PROMPT as f64 / begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    for index in 0..WRITTEN {
        backend.forward(&batch(PROMPT + index, 1))?;
    }
    Ok([reading, WRITTEN as f64 / begin.elapsed().as_secs_f64()])
}

fn batch(start: usize, count: usize) -> Batch {
    let chunk = Chunk {
        sequence: SequenceId(0),
        tokens: (start..start + count).map(|index| TokenId((index * 7 % 300) as u32)).collect(),
        start,
        block_table: (0..((PROMPT + WRITTEN).div_ceil(32)) as u32).map(BlockId).collect(),
        visuals: Vec::new(),
        wants: critic::Wants::Logits,
    };
    Batch { chunks: vec![chunk] }
}
