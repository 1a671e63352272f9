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

/// One of so many parts of the memory is left to others.
const PART_FOR_OTHERS: usize = 8;

impl Scheduler {
    /// Starts waiting sequences, each looked at once: first those that have waited too long, then by turns of their
    /// tenants, as far as they leave room for others. One that does not fit lets nobody past, or it might never fit; nor does
    /// one that runs alone, before and beside it.
    pub(super) fn admit(&mut self, now: Instant) {
        if self.waiting.is_empty() || self.running.len() >= self.config.max_sequences {
            return;
        }
        let mut line: Vec<Option<Box<Sequence>>> = self.waiting.drain(..).map(Some).collect();
        let max_age = self.config.max_age;
        let is_old = |sequence: &Sequence| now.saturating_duration_since(sequence.arrived()) >= max_age;
        let mut turns = Turns::new(&line, is_old);
        while self.running.len() < self.config.max_sequences && !self.running.iter().any(Sequence::runs_alone)
        {
            let Some(place) = turns.next(&self.share).map(|index| &mut line[index]) else { break };
            let crowds = |sequence: &&Sequence| !is_old(sequence) && self.crowds_out(sequence, now);
            if let Some(sequence) = place.as_deref().filter(crowds) {
                turns.pass_over(sequence.tenant());
                continue;
            }
            if !self.running.is_empty() && place.as_ref().is_some_and(|sequence| sequence.runs_alone()) {
                break;
            }
            let Some(sequence) = place.take_if(|sequence| self.may_start(sequence)) else { continue };
            if let Err(sequence) = self.start(sequence, now) {
                *place = Some(sequence);
                break;
            }
        }
        self.waiting.extend(line.into_iter().flatten());
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

    /// Whether a waiting sequence would take memory that is left to others: its tenant runs something already, others have
    /// come lately, and a part of the memory would not be free for them, at most a whole context. Of places none are left:
    /// they change hands at nearly every step.
    fn crowds_out(&self, sequence: &Sequence, now: Instant) -> bool {
        let tenant = sequence.tenant();
        let Limits { context_length, block_size, .. } = self.limits;
        let left = (self.allocator.total() / PART_FOR_OTHERS).min(context_length.div_ceil(block_size));
        self.neighbours.has_others(tenant, now)
            && self.running.iter().any(|running| running.tenant() == tenant)
            && !self.fits(sequence, left)
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

    /// Starts a sequence, or gives it back when there are too few blocks.
    fn start(&mut self, mut sequence: Box<Sequence>, now: Instant) -> Result<(), Box<Sequence>> {
        if !self.place(&mut sequence, now) {
            return Err(sequence);
        }
        sequence.audience.begin();
        self.computing.extend(sequence.unshared_keys());
        self.running.push(*sequence);
        Ok(())
    }

    /// Whether a running sequence is going to compute the first block that this one lacks.
    fn follows(&self, sequence: &Sequence) -> bool {
        let keys = sequence.block_keys();
        keys.get(self.cache.known(keys)).is_some_and(|key| self.computing.contains(key))
    }

    /// Gives a sequence its blocks, at the cost of kept ones if need be; tells whether there were enough.
    fn place(&mut self, sequence: &mut Sequence, now: Instant) -> bool {
        // A quarter of the memory is left to those that may not wait, unless nothing runs at all.
        let left = match sequence.urgency() {
            Urgency::Whenever if !self.running.is_empty() => self.allocator.total() / 4,
            Urgency::Now | Urgency::Whenever => 0,
        };
        // It leases nothing before there is enough: to look often is no use of what is kept.
        if !self.fits(sequence, left) {
            return false;
        }
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
        true
    }
}
