//! What runs in the next step: plain state and a step function, no thread, no clock.
//!
//! First come, first served. A sequence is admitted when blocks for its whole prompt and output are free, so a running
//! sequence never waits for memory. Every step runs one token of each decoding sequence first, then pieces of prompts,
//! oldest first, up to the budget of tokens.

use critic::{Batch, Limits, Logits};

use crate::{
    block_allocator::BlockAllocator,
    config::Config,
    error::Failure,
    sequence::Sequence,
    stream::Event,
};

/// The sequences that run, and the blocks they hold.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    max_sequences: usize,
    allocator: BlockAllocator,
    /// In order of arrival.
    running: Vec<Sequence>,
    /// Indices into `running` of the chunks of the batch in flight, in its order.
    in_flight: Vec<usize>,
}

impl Scheduler {
    pub(crate) fn new(limits: Limits, config: Config) -> Self {
        Self {
            limits,
            max_sequences: config.max_sequences,
            allocator: BlockAllocator::new(limits.block_count),
            running: Vec::new(),
            in_flight: Vec::new(),
        }
    }

    /// Whether another sequence may run beside those that do.
    pub(crate) fn has_room(&self) -> bool {
        self.running.len() < self.max_sequences
    }

    /// How many sequences run.
    pub(crate) fn running_count(&self) -> usize {
        self.running.len()
    }

    /// How many blocks nobody holds.
    pub(crate) fn free_blocks(&self) -> usize {
        self.allocator.free_count()
    }

    /// Starts a sequence, or hands it back when its blocks are not free yet.
    pub(crate) fn admit(&mut self, mut sequence: Sequence) -> Result<(), Box<Sequence>> {
        let count = sequence.max_positions().div_ceil(self.limits.block_size);
        let Some(blocks) = self.allocator.allocate(count) else { return Err(Box::new(sequence)) };
        sequence.place(blocks);
        self.running.push(sequence);
        Ok(())
    }

    /// Frees the sequences whose clients left and chooses the next batch; `None` when nothing runs.
    pub(crate) fn schedule(&mut self) -> Option<Batch> {
        self.end_where(Sequence::is_cancelled);
        self.in_flight.clear();
        let mut batch = Batch::default();
        let mut budget = self.limits.max_step_tokens;
        for decoding in [true, false] {
            for (index, sequence) in self.running.iter().enumerate() {
                if sequence.is_decoding() == decoding && budget > 0 {
                    let chunk = sequence.next_chunk(budget);
                    budget -= chunk.tokens.len();
                    batch.chunks.push(chunk);
                    self.in_flight.push(index);
                }
            }
        }
        (!batch.chunks.is_empty()).then_some(batch)
    }

    /// Takes the logits of the batch in flight: every sequence advances, and those that asked choose a token.
    pub(crate) fn commit(&mut self, batch: &Batch, logits: Vec<Logits>) {
        let mut logits = logits.into_iter();
        let mut finished = vec![false; self.running.len()];
        for (chunk, index) in batch.chunks.iter().zip(std::mem::take(&mut self.in_flight)) {
            let sequence = &mut self.running[index];
            sequence.advance(chunk.tokens.len());
            if !chunk.wants_logits {
                continue;
            }
            let row = logits.next().expect("a backend returns one row for each chunk that wants logits");
            if let Some(reason) = sequence.write(&row) {
                sequence.report(Event::Finished(reason));
                finished[index] = true;
            }
        }
        self.end_marked(&finished);
    }

    /// Ends every sequence of the batch in flight: what its step wrote cannot be trusted.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        let mut failed = vec![false; self.running.len()];
        for index in std::mem::take(&mut self.in_flight) {
            self.running[index].report(Event::Failed(failure.clone()));
            failed[index] = true;
        }
        self.end_marked(&failed);
    }

    /// Whether every block is either free or held by a running sequence, when nothing runs: all are free.
    pub(crate) fn is_whole(&self) -> bool {
        !self.running.is_empty() || self.allocator.free_count() == self.allocator.total()
    }

    fn end_where(&mut self, ends: impl Fn(&Sequence) -> bool) {
        let marks: Vec<bool> = self.running.iter().map(ends).collect();
        self.end_marked(&marks);
    }

    /// Removes the marked sequences, keeping the order of the others, and takes their blocks back.
    fn end_marked(&mut self, marks: &[bool]) {
        let sequences = std::mem::take(&mut self.running);
        for (sequence, ends) in sequences.into_iter().zip(marks) {
            if *ends {
                self.allocator.release(sequence.into_blocks());
            } else {
                self.running.push(sequence);
            }
        }
    }
}
