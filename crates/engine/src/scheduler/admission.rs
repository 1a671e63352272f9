//! Decides which sequences run, and with which blocks.
//!
//! A sequence is admitted when blocks for its whole prompt and reply are free, so that a running sequence never waits
//! for memory; the cached prefix of its prompt is read from the prefix cache. When a running sequence is about to
//! compute the same prefix, the later one waits for it: one leads, and the others follow with the whole prefix at
//! once. [`FairShare`](crate::scheduler::fair_share::FairShare) determines whose turn it is, but a sequence that has
//! waited very long comes first. Some slots are reserved for sequences that write no text. Sequences of low urgency
//! come last, and leave room for urgent ones. A tenant with a running sequence leaves memory for others that have
//! sent requests recently ([`RecentTenants`](crate::scheduler::recent_tenants::RecentTenants)), so that those are
//! admitted at once.

use std::time::Instant;

use critic::Limits;

use super::Scheduler;
use crate::{
    request::{Lane, Urgency},
    scheduler::admission_order::AdmissionOrder,
    sequence::Sequence,
};

/// A tenant with a running sequence leaves this fraction of the blocks (1 of 8) free for others, but no more than a
/// whole context needs.
const PART_FOR_OTHERS: usize = 8;

/// Sequences of low urgency leave this fraction of the blocks (1 of 4) free for urgent ones.
const PART_FOR_URGENT: usize = 4;

/// The sequences held up by one that cannot start now.
enum HeldUp {
    /// Only itself: the obstacle will pass without further action.
    Itself,
    /// All of its tenant, which leaves memory for others.
    ItsTenant,
    /// All sequences, since otherwise it might never fit.
    Everybody,
}

impl Scheduler {
    /// Starts waiting sequences, each considered once: first those that have waited too long, then by turns of
    /// their tenants.
    pub(super) fn admit(&mut self, now: Instant) {
        if self.waiting.is_empty() || self.running.len() >= self.config.max_sequences {
            return;
        }
        let max_age = self.config.max_age;
        let mut order = AdmissionOrder::new(&self.waiting, |sequence| sequence.has_waited(max_age, now));
        let mut line: Vec<Option<Box<Sequence>>> = self.waiting.drain(..).map(Some).collect();
        while self.running.len() < self.config.max_sequences && !self.running.iter().any(Sequence::runs_alone)
        {
            let Some(index) = order.next(&self.share) else { break };
            let Some(sequence) = line[index].take() else { continue };
            match self.obstacle(&sequence, now) {
                None => self.start(sequence, now),
                Some(held_up) => {
                    let sequence = line[index].insert(sequence);
                    match held_up {
                        HeldUp::Itself => {}
                        HeldUp::ItsTenant => order.pass_over(sequence.tenant()),
                        HeldUp::Everybody => break,
                    }
                }
            }
        }
        self.waiting.extend(line.into_iter().flatten());
    }

    /// The reason why a waiting sequence cannot start, if there is one.
    fn obstacle(&self, sequence: &Sequence, now: Instant) -> Option<HeldUp> {
        if sequence.runs_alone() && !self.running.is_empty() {
            return Some(HeldUp::Everybody);
        }
        if !self.may_start(sequence) {
            return Some(HeldUp::Itself);
        }
        let (left, held_up) = self.left_to_others(sequence, now);
        (!self.fits(sequence, left)).then_some(held_up)
    }

    /// Whether a waiting sequence may start: its lane has room, and it does not follow a running sequence. One that
    /// may not start lets others pass: its obstacle lasts as long as the text, or the prompt, that is in its way.
    pub(super) fn may_start(&self, sequence: &Sequence) -> bool {
        let has_room =
            sequence.lane() == Lane::Score || self.explaining() < self.config.max_explaining.max(1);
        let waiting = |sequence: &&Sequence| sequence.urgency() == Urgency::Background;
        let is_let_in = match sequence.urgency() {
            Urgency::Now => true,
            // At most half of the slots may run sequences of low urgency, so that an urgent one finds a slot at
            // once.
            Urgency::Background => {
                self.running.iter().filter(waiting).count() < self.config.max_sequences.div_ceil(2)
            }
        };
        has_room && is_let_in && !self.follows(sequence)
    }

    /// The number of running sequences that write text.
    pub(super) fn explaining(&self) -> usize {
        self.running.iter().filter(|sequence| sequence.lane() == Lane::Explain).count()
    }

    /// The number of blocks that must stay free for others when a sequence starts, and the sequences held up
    /// otherwise. Slots are not reserved, since they become free at nearly every step.
    fn left_to_others(&self, sequence: &Sequence, now: Instant) -> (usize, HeldUp) {
        let tenant = sequence.tenant();
        let total = self.allocator.total();
        let is_old = sequence.has_waited(self.config.max_age, now);
        match sequence.urgency() {
            Urgency::Background if !self.running.is_empty() => (total / PART_FOR_URGENT, HeldUp::Everybody),
            Urgency::Now
                if !is_old
                    && self.recent_tenants.has_others(tenant, now)
                    && self.running.iter().any(|running| running.tenant() == tenant) =>
            {
                let Limits { context_length, block_size, .. } = self.limits;
                ((total / PART_FOR_OTHERS).min(context_length.div_ceil(block_size)), HeldUp::ItsTenant)
            }
            Urgency::Now | Urgency::Background => (0, HeldUp::Everybody),
        }
    }

    /// Whether there are enough blocks for a sequence and `left` more.
    fn fits(&self, sequence: &Sequence, left: usize) -> bool {
        let keys = sequence.block_keys();
        let known = self.cache.known(keys);
        // Cached blocks without leases that it will lease are no longer free.
        let wanted = self.wanted_blocks(sequence, known) + self.cache.idle_among(&keys[..known]);
        wanted + left <= self.free_blocks()
    }

    /// The number of blocks that a sequence needs besides the `known` ones.
    fn wanted_blocks(&self, sequence: &Sequence, known: usize) -> usize {
        sequence.max_positions().div_ceil(self.limits.block_size) - known
    }

    /// Starts a sequence that fits.
    fn start(&mut self, mut sequence: Box<Sequence>, now: Instant) {
        // Before its place in the queue is free: whoever is woken by that finds that the request has begun.
        sequence.subscribers.begin();
        self.assign_blocks(&mut sequence, now);
        self.computing.extend(sequence.unshared_keys());
        self.running.push(*sequence);
    }

    /// Whether a running sequence will compute the first block that this one lacks.
    fn follows(&self, sequence: &Sequence) -> bool {
        let keys = sequence.block_keys();
        keys.get(self.cache.known(keys)).is_some_and(|key| self.computing.contains(key))
    }

    /// Assigns blocks to a sequence that fits, evicting cached ones if necessary.
    fn assign_blocks(&mut self, sequence: &mut Sequence, now: Instant) {
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
