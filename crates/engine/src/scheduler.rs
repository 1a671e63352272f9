//! What runs in the next step: plain state and a step function, no thread, no clock.
//!
//! First come, first served. A sequence is admitted when blocks for its whole prompt and output are free, so a running
//! sequence never waits for memory; the beginning of its prompt that an earlier sequence computed is read from the prefix
//! cache. When a running sequence is about to compute the same beginning, the later one waits until it has: one leads, the
//! others follow with the whole beginning at once. Every step runs one token of each decoding sequence first, then pieces
//! of prompts, oldest first, up to the budget of tokens.

use std::collections::{HashSet, VecDeque};

use critic::{Batch, Limits, Logits};

use crate::{
    block_allocator::BlockAllocator,
    config::Config,
    error::Failure,
    prefix_cache::{BlockKey, PrefixCache},
    sequence::Sequence,
    stream::Event,
};

/// The sequences that wait and run, and the blocks they hold.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    max_sequences: usize,
    allocator: BlockAllocator,
    cache: PrefixCache,
    /// Names of the blocks that running sequences are going to compute.
    computing: HashSet<BlockKey>,
    /// In order of arrival. Its bound is kept where requests come in.
    waiting: VecDeque<Sequence>,
    /// In order of admission.
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
            cache: PrefixCache::default(),
            computing: HashSet::new(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            in_flight: Vec::new(),
        }
    }

    /// How many sequences wait.
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// How many sequences run.
    pub(crate) fn running_count(&self) -> usize {
        self.running.len()
    }

    /// How many blocks no running sequence holds.
    pub(crate) fn free_blocks(&self) -> usize {
        self.allocator.free_count() + self.cache.idle_count()
    }

    /// How many blocks are kept for later sequences, those that are being read among them.
    pub(crate) fn cached_blocks(&self) -> usize {
        self.cache.len()
    }

    /// Puts a sequence at the end of the line.
    pub(crate) fn enqueue(&mut self, sequence: Sequence) {
        self.waiting.push_back(sequence);
    }

    /// Drops the sequences whose clients left, admits those that fit, and chooses the next batch; `None` when nothing
    /// waits or runs.
    pub(crate) fn schedule(&mut self) -> Option<Batch> {
        self.waiting.retain(|sequence| !sequence.is_cancelled());
        let cancelled: Vec<bool> = self.running.iter().map(Sequence::is_cancelled).collect();
        self.end_marked(&cancelled);
        self.admit();
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
            while let Some(full) = sequence.next_shareable(self.limits.block_size) {
                let block = sequence.share();
                self.cache.insert(sequence.block_keys(), full, block);
                self.computing.remove(&sequence.block_keys()[full]);
            }
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

    /// Whether every block is free, kept or held once.
    pub(crate) fn is_whole(&self) -> bool {
        let own: usize = self.running.iter().map(Sequence::own_block_count).sum();
        self.allocator.free_count() + self.cache.len() + own == self.allocator.total()
    }

    /// Starts waiting sequences in order. One that follows a running sequence lets others past, as what it waits for takes
    /// a few steps; one that does not fit lets nobody past, or it might never fit.
    fn admit(&mut self) {
        let mut index = 0;
        while index < self.waiting.len() && self.running.len() < self.max_sequences {
            if self.follows(&self.waiting[index]) {
                index += 1;
                continue;
            }
            let Some(mut sequence) = self.waiting.remove(index) else { return };
            if !self.place(&mut sequence) {
                self.waiting.insert(index, sequence);
                return;
            }
            self.computing.extend(sequence.unshared_keys());
            self.running.push(sequence);
        }
    }

    /// Whether a running sequence is going to compute the first block that this one lacks.
    fn follows(&self, sequence: &Sequence) -> bool {
        let keys = sequence.block_keys();
        keys.get(self.cache.known(keys)).is_some_and(|key| self.computing.contains(key))
    }

    /// Gives a sequence its blocks, at the cost of kept ones if need be; tells whether there were enough.
    fn place(&mut self, sequence: &mut Sequence) -> bool {
        let leased = self.cache.lease(sequence.block_keys());
        let wanted = sequence.max_positions().div_ceil(self.limits.block_size) - leased.len();
        if wanted > self.free_blocks() {
            self.cache.release(&sequence.block_keys()[..leased.len()]);
            return false;
        }
        while self.allocator.free_count() < wanted {
            let block = self.cache.evict().expect("a kept block that nobody leases is a leaf or above one");
            self.allocator.release(vec![block]);
        }
        let own = self.allocator.allocate(wanted).expect("enough blocks were made free");
        sequence.place(leased, own, self.limits.block_size);
        true
    }

    /// Removes the marked sequences, keeping the order of the others, and takes their blocks back.
    fn end_marked(&mut self, marks: &[bool]) {
        if !marks.contains(&true) {
            return;
        }
        let sequences = std::mem::take(&mut self.running);
        for (sequence, ends) in sequences.into_iter().zip(marks) {
            if !*ends {
                self.running.push(sequence);
                continue;
            }
            for key in sequence.unshared_keys() {
                self.computing.remove(key);
            }
            let (leased, own) = sequence.into_blocks();
            self.cache.release(&leased);
            self.allocator.release(own);
        }
    }
}

#[cfg(test)]
mod tests;
