//! Which sequences run, and with which blocks.
//!
//! A sequence is admitted when blocks for its whole prompt and reply are free, so a running one never waits for memory;
//! the beginning of its prompt that an earlier one computed is read from the prefix cache. When a running sequence is
//! about to compute the same beginning, the later one waits until it has: one leads, the others follow with the whole
//! beginning at once. Whose turn it is, [`FairShare`](crate::fair_share::FairShare) says, but one that has waited very
//! long goes first. Some room is kept for sequences that write no text. Those that may wait come last, and leave room for
//! those that may not. A tenant that runs something already leaves room for others who have come lately
//! ([`Neighbours`](crate::neighbours::Neighbours)), so that they are admitted at once.

use std::time::Instant;

use critic::Limits;

use super::Scheduler;
use crate::{
    request::{Lane, Urgency},
    sequence::Sequence,
    turns::Turns,
};

/// What a running tenant leaves of the memory to others is one of so many parts, at most a whole context.
const PART_FOR_OTHERS: usize = 8;

/// What those that may wait leave to those that may not.
const PART_FOR_URGENT: usize = 4;

/// Whom a sequence that cannot start now holds up.
enum HoldsUp {
    /// Itself alone: it is kept out for what will pass by itself.
    Itself,
    /// All of its tenant, which leaves memory to others.
    ItsTenant,
    /// Everybody, or it might never fit.
    Everybody,
}

impl Scheduler {
    /// Starts waiting sequences, each looked at once: first those that have waited too long, then by turns of their tenants.
    pub(super) fn admit(&mut self, now: Instant) {
        if self.waiting.is_empty() || self.running.len() >= self.config.max_sequences {
            return;
        }
        let max_age = self.config.max_age;
        let mut turns = Turns::new(&self.waiting, |sequence| sequence.has_waited(max_age, now));
        let mut line: Vec<Option<Box<Sequence>>> = self.waiting.drain(..).map(Some).collect();
        while self.running.len() < self.config.max_sequences && !self.running.iter().any(Sequence::runs_alone)
        {
            let Some(index) = turns.next(&self.share) else { break };
            let Some(sequence) = line[index].take() else { continue };
            match self.hindrance(&sequence, now) {
                None => self.start(sequence, now),
                Some(holds_up) => {
                    let sequence = line[index].insert(sequence);
                    match holds_up {
                        HoldsUp::Itself => {}
                        HoldsUp::ItsTenant => turns.pass_over(sequence.tenant()),
                        HoldsUp::Everybody => break,
                    }
                }
            }
        }
        self.waiting.extend(line.into_iter().flatten());
    }

    /// What keeps a waiting sequence from starting, if anything does.
    fn hindrance(&self, sequence: &Sequence, now: Instant) -> Option<HoldsUp> {
        if sequence.runs_alone() && !self.running.is_empty() {
            return Some(HoldsUp::Everybody);
        }
        if !self.may_start(sequence) {
            return Some(HoldsUp::Itself);
        }
        let (left, holds_up) = self.left_to_others(sequence, now);
        (!self.fits(sequence, left)).then_some(holds_up)
    }

    /// Whether a waiting sequence is neither kept out by a full lane nor follows a running sequence, which lets others past,
    /// as what it waits for takes a few steps.
    pub(super) fn may_start(&self, sequence: &Sequence) -> bool {
        let has_room =
            sequence.lane() == Lane::Score || self.explaining() < self.config.max_explaining.max(1);
        let waiting = |sequence: &&Sequence| sequence.urgency() == Urgency::Whenever;
        let is_let_in = match sequence.urgency() {
            Urgency::Now => true,
            // At most a half of what runs may wait, so that whoever comes finds a place at once.
            Urgency::Whenever => {
                self.running.iter().filter(waiting).count() < self.config.max_sequences.div_ceil(2)
            }
        };
        has_room && is_let_in && !self.follows(sequence)
    }

    /// How many sequences that write text run.
    pub(super) fn explaining(&self) -> usize {
        self.running.iter().filter(|sequence| sequence.lane() == Lane::Explain).count()
    }

    /// How many blocks a sequence leaves free for others when it starts, and whom it holds up where that cannot be. Of places
    /// none are left: they change hands at nearly every step.
    fn left_to_others(&self, sequence: &Sequence, now: Instant) -> (usize, HoldsUp) {
        let tenant = sequence.tenant();
        let total = self.allocator.total();
        let is_old = sequence.has_waited(self.config.max_age, now);
        match sequence.urgency() {
            Urgency::Whenever if !self.running.is_empty() => (total / PART_FOR_URGENT, HoldsUp::Everybody),
            Urgency::Now
                if !is_old
                    && self.neighbours.has_others(tenant, now)
                    && self.running.iter().any(|running| running.tenant() == tenant) =>
            {
                let Limits { context_length, block_size, .. } = self.limits;
                ((total / PART_FOR_OTHERS).min(context_length.div_ceil(block_size)), HoldsUp::ItsTenant)
            }
            Urgency::Now | Urgency::Whenever => (0, HoldsUp::Everybody),
        }
    }

    /// Whether a sequence finds enough blocks, so that `left` of them are free still.
    fn fits(&self, sequence: &Sequence, left: usize) -> bool {
        let keys = sequence.block_keys();
        let known = self.cache.known(keys);
        // What it leases is free no more.
        let wanted = self.wanted_blocks(sequence, known) + self.cache.idle_among(&keys[..known]);
        wanted + left <= self.free_blocks()
    }

    /// How many blocks a sequence needs beside the `known` ones.
    fn wanted_blocks(&self, sequence: &Sequence, known: usize) -> usize {
        sequence.max_positions().div_ceil(self.limits.block_size) - known
    }

    /// Starts a sequence that fits.
    fn start(&mut self, mut sequence: Box<Sequence>, now: Instant) {
        self.place(&mut sequence, now);
        sequence.audience.begin();
        self.computing.extend(sequence.unshared_keys());
        self.running.push(*sequence);
    }

    /// Whether a running sequence is going to compute the first block that this one lacks.
    fn follows(&self, sequence: &Sequence) -> bool {
        let keys = sequence.block_keys();
        keys.get(self.cache.known(keys)).is_some_and(|key| self.computing.contains(key))
    }

    /// Gives a sequence that fits its blocks, at the cost of kept ones if need be.
    fn place(&mut self, sequence: &mut Sequence, now: Instant) {
        let keys = sequence.block_keys();
        let leased = self.cache.lease(keys);
        let wanted = self.wanted_blocks(sequence, leased.len());
        while self.allocator.free_count() < wanted {
            let (key, block) =
                self.cache.evict().expect("a kept block that nobody leases is a leaf or above one");
            self.backlog.forget(&key);
            self.allocator.release(vec![block]);
            self.prefix.evictions += 1;
        }
        self.prefix.hits += leased.len() as u64;
        self.prefix.misses += (sequence.block_keys().len() - leased.len()) as u64;
        let fanout = leased.len().checked_sub(1).map(|last| self.cache.leases(&sequence.block_keys()[last]));
        sequence.note_fanout(fanout.unwrap_or(0));
        let own = self.allocator.allocate(wanted).expect("enough blocks were made free");
        let tokens = sequence.max_positions() - leased.len() * self.limits.block_size;
        self.share.charge(sequence.tenant(), tokens, sequence.weight());
        sequence.admit((leased, own), self.limits.block_size, now);
    }
}
