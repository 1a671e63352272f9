//! What runs in the next step: plain state and a step function, no thread, no clock of its own.
//!
//! *Admission.* A sequence is admitted when blocks for its whole prompt and reply are free, so a running one never waits
//! for memory; the beginning of its prompt that an earlier one computed is read from the prefix cache. When a running
//! sequence is about to compute the same beginning, the later one waits until it has: one leads, the others follow with the
//! whole beginning at once. Whose turn it is, [`FairShare`] says, but one that has waited very long goes first. Some room
//! is kept for sequences that write no text.
//!
//! *Steps.* Each runs what decoding sequences wrote first, then pieces of prompts, oldest first, up to the budget of tokens.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use critic::{Batch, Limits, Logits};

use crate::{
    backlog::Backlog,
    block_allocator::BlockAllocator,
    config::Config,
    error::Failure,
    fair_share::FairShare,
    prefix_cache::{BlockKey, PrefixCache},
    request::Lane,
    sequence::Sequence,
    stream::Event,
};

/// What a step gave one chunk: logits, when it wanted them.
pub(crate) type Outcome = Result<Option<Logits>, Failure>;

/// The sequences that wait and run, and the blocks they hold.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    config: Config,
    allocator: BlockAllocator,
    cache: PrefixCache,
    /// Learns which blocks are kept.
    backlog: Arc<Backlog>,
    /// Names of the blocks that running sequences are going to compute.
    computing: HashSet<BlockKey>,
    share: FairShare,
    /// In order of arrival. Its bound is kept where requests come in.
    waiting: VecDeque<Sequence>,
    /// In order of admission.
    running: Vec<Sequence>,
    /// Indices into `running` of the chunks of the batch in flight, in its order.
    in_flight: Vec<usize>,
}

impl Scheduler {
    pub(crate) fn new(limits: Limits, config: Config, backlog: Arc<Backlog>) -> Self {
        Self {
            limits,
            config,
            allocator: BlockAllocator::new(limits.block_count),
            cache: PrefixCache::default(),
            backlog,
            computing: HashSet::new(),
            share: FairShare::default(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            in_flight: Vec::new(),
        }
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

    /// Puts a sequence at the end of the line; when an equal one is there already, its clients listen to that one.
    pub(crate) fn enqueue(&mut self, sequence: Sequence) {
        let mut others = self.running.iter_mut().chain(&mut self.waiting);
        match others.find(|other| other.identity() == sequence.identity()) {
            Some(equal) => equal.audience.join(sequence.audience),
            None => self.waiting.push_back(sequence),
        }
    }

    /// Drops the sequences that nobody waits for any more, admits those that fit, and chooses the next batch; `None` when
    /// nothing waits or runs.
    pub(crate) fn schedule(&mut self, now: Instant) -> Option<Batch> {
        self.waiting.retain_mut(|sequence| !sequence.audience.is_gone(now));
        let gone: Vec<bool> =
            self.running.iter_mut().map(|sequence| sequence.audience.is_gone(now)).collect();
        self.end_marked(&gone);
        self.admit(now);
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
            if decoding && !batch.chunks.is_empty() {
                budget = budget.min(self.config.max_prefill_tokens.max(1));
            }
        }
        (!batch.chunks.is_empty()).then_some(batch)
    }

    /// Takes what the batch in flight gave: every sequence advances, and those that asked go on by their logits.
    pub(crate) fn commit(&mut self, batch: &Batch, outcomes: Vec<Outcome>) {
        let mut ended = vec![false; self.running.len()];
        let indices = std::mem::take(&mut self.in_flight);
        for ((chunk, index), outcome) in batch.chunks.iter().zip(indices).zip(outcomes) {
            let last = match outcome {
                Ok(logits) => self.advance(index, chunk.tokens.len(), logits.as_ref()),
                Err(failure) => Some(Event::Failed(failure)),
            };
            if let Some(event) = last {
                self.running[index].audience.tell(event);
                ended[index] = true;
            }
        }
        self.end_marked(&ended);
    }

    /// Ends everything: what the cache holds cannot be trusted.
    pub(crate) fn fail_all(&mut self, failure: &Failure) {
        for mut sequence in self.running.drain(..).chain(self.waiting.drain(..)) {
            sequence.audience.tell(Event::Failed(failure.clone()));
        }
    }

    /// Whether every block is free, kept or held once.
    pub(crate) fn is_whole(&self) -> bool {
        let own: usize = self.running.iter().map(Sequence::own_block_count).sum();
        self.allocator.free_count() + self.cache.len() + own == self.allocator.total()
    }

    /// Whether nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Moves one sequence on; gives its last event when it is complete.
    fn advance(&mut self, index: usize, tokens: usize, logits: Option<&Logits>) -> Option<Event> {
        let sequence = &mut self.running[index];
        sequence.advance(tokens);
        while let Some(full) = sequence.next_shareable(self.limits.block_size) {
            let block = sequence.share();
            let key = sequence.block_keys()[full];
            self.cache.insert(sequence.block_keys(), full, block);
            self.computing.remove(&key);
            self.backlog.learn(&key);
        }
        sequence.accept(logits?).map(Event::Finished)
    }

    /// Starts waiting sequences. One that does not fit lets nobody past, or it might never fit.
    fn admit(&mut self, now: Instant) {
        while self.running.len() < self.config.max_sequences {
            let Some(index) = self.next_waiting(now) else { return };
            let Some(mut sequence) = self.waiting.remove(index) else { return };
            if !self.place(&mut sequence) {
                self.waiting.insert(index, sequence);
                return;
            }
            self.computing.extend(sequence.unshared_keys());
            self.running.push(sequence);
        }
    }

    /// The waiting sequence whose turn it is: the first of those that have waited too long; else the first of the tenant
    /// that is furthest behind. Left out are those whose lane is full, and those that follow a running sequence, as what
    /// they wait for takes a few steps.
    fn next_waiting(&self, now: Instant) -> Option<usize> {
        let explaining = self.running.iter().filter(|sequence| sequence.lane() == Lane::Explain).count();
        let may_explain = explaining < self.config.max_explaining.max(1);
        let may_start =
            |sequence: &Sequence| (sequence.lane() == Lane::Score || may_explain) && !self.follows(sequence);
        let is_old =
            |sequence: &Sequence| now.saturating_duration_since(sequence.arrived()) >= self.config.max_age;
        let old = self.waiting.iter().take_while(|sequence| is_old(sequence)).position(may_start);
        old.or_else(|| {
            let candidates = self.waiting.iter().enumerate().filter(|(_, sequence)| may_start(sequence));
            candidates.min_by_key(|(_, sequence)| self.share.clock(sequence.tenant())).map(|(index, _)| index)
        })
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
            let (key, block) =
                self.cache.evict().expect("a kept block that nobody leases is a leaf or above one");
            self.backlog.forget(&key);
            self.allocator.release(vec![block]);
        }
        let own = self.allocator.allocate(wanted).expect("enough blocks were made free");
        self.share
            .charge(sequence.tenant(), sequence.max_positions() - leased.len() * self.limits.block_size);
        sequence.admit(leased, own, self.limits.block_size);
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
