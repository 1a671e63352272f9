//! Ranks that fail, panic and continue, with sums of plain numbers in place of a decoder.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use critic::{Backend, BackendError, Batch, BlockId, Chunk, Limits, SequenceId, StepOutput, TokenId, Wants};

use super::{Group, ParallelBackend};
use crate::{device::ComputeDevice, parallel::Reduce, rows::Rows};

/// Tokens that make a rank fail: the constant plus the rank's number.
const FAILS: u32 = 100;
const PANICS: u32 = 200;

/// A rank whose logits are its own number and a sum over all ranks, to which each adds the token times its number
/// plus one. Its reward is the total of both.
struct Adder {
    rank: u32,
    blocks: usize,
    reduce: Reduce,
    /// How often ranks were told to forget features.
    forgotten: Arc<AtomicUsize>,
}

impl Backend for Adder {
    fn limits(&self) -> Limits {
        Limits {
            block_size: 32,
            block_count: self.blocks,
            context_length: 64,
            max_step_tokens: 8,
            efficient_step_tokens: 8,
        }
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        let token = batch.chunks[0].tokens[0].0;
        if token == FAILS + self.rank {
            return Err(BackendError::Compute(format!("rank {} has no room", self.rank).into()));
        }
        assert_ne!(token, PANICS + self.rank, "a rank panics");
        let mut rows = Rows::Floats { floats: vec![(token * (self.rank + 1)) as f32], columns: 1 };
        self.reduce.sum(&mut rows).map_err(|error| BackendError::Compute(error.into()))?;
        let sum = rows.floats().map_err(|error| BackendError::Compute(error.into()))?[0];
        let own = self.rank as f32;
        let output = |chunk: &Chunk| match chunk.wants {
            Wants::Nothing => None,
            Wants::Logits => Some(StepOutput::Logits(vec![own, sum])),
            Wants::Reward => Some(StepOutput::Reward(own + sum)),
        };
        Ok(batch.chunks.iter().filter_map(output).collect())
    }

    fn forget_features(&mut self) {
        self.forgotten.fetch_add(1, SeqCst);
    }
}

fn backend(ranks: u32) -> ParallelBackend {
    forgetting(ranks, &Arc::default())
}

/// A backend that counts in `forgotten` how often its ranks are told to forget features.
fn forgetting(ranks: u32, forgotten: &Arc<AtomicUsize>) -> ParallelBackend {
    let group = Arc::new(Group::connect(&vec![ComputeDevice::Kernels; ranks as usize], 1).unwrap());
    let adder = |rank| {
        let reduce = Reduce::new(rank as usize, &group);
        let (blocks, forgotten) = (9 - rank as usize, Arc::clone(forgotten));
        Box::new(Adder { rank, blocks, reduce, forgotten }) as Box<dyn Backend>
    };
    ParallelBackend::new((0..ranks).map(adder).collect(), group)
}

fn batch(token: u32) -> Batch {
    let chunk = |sequence, wants| Chunk {
        sequence: SequenceId(sequence),
        tokens: vec![TokenId(token)],
        start: 0,
        block_table: vec![BlockId(0)],
        visuals: Vec::new(),
        wants,
    };
    Batch { chunks: vec![chunk(0, Wants::Reward), chunk(1, Wants::Nothing), chunk(2, Wants::Logits)] }
}

/// Asserts the result of a normal step of three ranks: the first rank's reward, and all ranks' logits concatenated.
fn assert_works(backend: &mut ParallelBackend) {
    let outputs = backend.forward(&batch(7)).unwrap();
    let logits = vec![0.0, 42.0, 1.0, 42.0, 2.0, 42.0];
    assert_eq!(outputs, [StepOutput::Reward(42.0), StepOutput::Logits(logits)]);
}

#[test]
fn a_rank_that_fails_fails_the_step_alone_and_says_why() {
    let mut backend = backend(3);
    assert_works(&mut backend);
    for rank in 0..3 {
        let error = backend.forward(&batch(FAILS + rank)).unwrap_err();
        let BackendError::Compute(cause) = error else { panic!("{error}") };
        assert_eq!(cause.to_string(), format!("rank {rank} has no room"));
        assert_works(&mut backend);
    }
}

#[test]
fn a_rank_that_panics_panics_the_step_alone() {
    let mut backend = backend(3);
    for rank in 0..3 {
        let step = catch_unwind(AssertUnwindSafe(|| backend.forward(&batch(PANICS + rank))));
        assert!(step.is_err(), "rank {rank}");
        assert_works(&mut backend);
    }
}

#[test]
fn features_are_forgotten_on_every_rank() {
    let forgotten = Arc::default();
    forgetting(3, &forgotten).forget_features();
    assert_eq!(forgotten.load(SeqCst), 3);
}

#[test]
fn there_are_as_many_blocks_as_the_rank_with_the_fewest_has() {
    assert_eq!(backend(3).limits().block_count, 7);
}
