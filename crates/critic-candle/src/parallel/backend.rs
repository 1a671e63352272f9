//! A backend that runs the steps of all ranks of a decoder.

use std::{
    panic::resume_unwind,
    sync::Arc,
    thread::{self, ScopedJoinHandle},
};

use critic::{Backend, BackendError, BackendFigures, Batch, Limits, StepOutput, Wants};

use super::Group;

/// The result of one rank's part of a step.
type Answer = Result<Vec<StepOutput>, BackendError>;

/// Ranks that run every step together.
///
/// Each step starts a thread for every rank, which ends with the step: starting one takes some ten microseconds,
/// and a rank that fails or panics leaves nothing behind.
pub(crate) struct ParallelBackend {
    ranks: Vec<Box<dyn Backend>>,
    group: Arc<Group>,
}

impl ParallelBackend {
    /// A backend of the ranks of `group`.
    ///
    /// # Panics
    /// When there are no ranks.
    pub(crate) fn new(ranks: Vec<Box<dyn Backend>>, group: Arc<Group>) -> Self {
        assert!(!ranks.is_empty(), "a decoder has at least one rank");
        Self { ranks, group }
    }
}

impl Backend for ParallelBackend {
    fn limits(&self) -> Limits {
        let limits = self.ranks[0].limits();
        // GPUs may have room for different numbers of blocks; all use the smallest.
        let block_count = self.ranks.iter().map(|rank| rank.limits().block_count).min();
        Limits { block_count: block_count.unwrap_or(limits.block_count), ..limits }
    }

    fn forward(&mut self, batch: &Batch) -> Answer {
        self.group.begin().map_err(|error| BackendError::Compute(error.into()))?;
        let group = &*self.group;
        let answers: Vec<thread::Result<Answer>> = thread::scope(|scope| {
            let mut threads = Vec::with_capacity(self.ranks.len());
            for (index, rank) in self.ranks.iter_mut().enumerate() {
                let step = move || run(index, rank.as_mut(), batch, group);
                let thread = thread::Builder::new().name(format!("rank-{index}")).spawn_scoped(scope, step);
                threads.push(thread.inspect_err(|_| group.abandon(index)));
            }
            let end = |thread: std::io::Result<ScopedJoinHandle<'_, Answer>>| match thread {
                Ok(thread) => thread.join(),
                Err(error) => Ok(Err(BackendError::Compute(error.into()))),
            };
            threads.into_iter().map(end).collect()
        });
        let mut parts = Vec::with_capacity(answers.len());
        let mut failures = Vec::new();
        for (rank, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(Ok(part)) => parts.push(part.into_iter()),
                Ok(Err(failure)) => failures.push((rank, failure)),
                Err(panic) => resume_unwind(panic),
            }
        }
        let first = self.group.failed();
        failures.sort_by_key(|(rank, _)| Some(*rank) != first);
        match failures.into_iter().next() {
            Some((_, failure)) => Err(failure),
            None => Ok(join(batch, &mut parts)),
        }
    }

    fn forget_features(&mut self) {
        self.ranks.iter_mut().for_each(|rank| rank.forget_features());
    }

    fn figures(&self) -> BackendFigures {
        let block_bytes = self.ranks.iter().map(|rank| rank.figures().block_bytes).sum();
        BackendFigures { block_bytes, ..self.ranks[0].figures() }
    }
}

/// Runs a rank's part of a step. If it fails, the step is abandoned, so that the other ranks stop waiting for it.
fn run(index: usize, rank: &mut dyn Backend, batch: &Batch, group: &Group) -> Answer {
    let unless_done = group.abandon_unless_done(index);
    let answer = rank.forward(batch);
    if answer.is_ok() {
        unless_done.done();
    }
    answer
}

/// The output of each chunk that wants one, joined of those of all ranks.
fn join(batch: &Batch, parts: &mut [std::vec::IntoIter<StepOutput>]) -> Vec<StepOutput> {
    let wanted = batch.chunks.iter().filter(|chunk| chunk.wants != Wants::Nothing);
    wanted
        .map(|_| {
            let output = |part: &mut std::vec::IntoIter<StepOutput>| {
                part.next().expect("a rank has an output for each chunk that wants one")
            };
            parts.iter_mut().map(output).reduce(append).expect("a decoder has at least one rank")
        })
        .collect()
}

/// Appends the next rank's logits to those of the ranks before it. A reward is the same on all ranks, each of which
/// computes it in full.
fn append(mut before: StepOutput, next: StepOutput) -> StepOutput {
    if let (StepOutput::Logits(logits), StepOutput::Logits(more)) = (&mut before, next) {
        logits.extend(more);
    }
    before
}

#[cfg(test)]
mod tests;
