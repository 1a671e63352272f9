//! The load of the queue, its throughput, and admission control for new requests. Handles query it; the engine's
//! thread keeps the throughput and the cached blocks up to date.
//!
//! A client's request is one entry, however many parts it has: its [`Ticket`] is counted once, and after it was
//! accepted, its parts join the queue as there is room. One part of it may always join, so that an accepted request
//! makes progress. Beyond these, parts fill at most half of the queue, so that a request of many parts does not keep
//! all others out. One part of each request may always be prepared; beyond these, at most as many parts are prepared
//! or wait as requests may wait, so that the memory for encoded prompts is bounded too.
//!
//! Those that wait for room have a [`Place`] among the [`Waiters`](super::waiters::Waiters), which determine who is
//! next.

use std::sync::PoisonError;

use super::{
    load::{Bound, Demand, Load, QueuedPart, Room, Wanted},
    state::{Exceeded, QueueLimits, QueueState},
    ticket::{Counted, Standing, Ticket},
    waiters::{Place, WaitsFor},
};
use crate::{
    average::MovingAverage,
    config::Config,
    error::EngineError,
    prefix_cache::BlockKey,
    request::{Lane, Tenant, Urgency},
    sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering::Relaxed},
};

/// Number of slots for keys of cached blocks: 512 KiB, enough for the blocks of two million tokens.
const KNOWN_SLOTS: usize = 1 << 16;

/// Upper bound on the retry time sent to clients, in seconds: OpenAI clients give up at longer ones, and the load
/// has changed by then anyway.
const MAX_RETRY_S: u64 = 20;

/// The load of the queue.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// The lock makes every admission atomic: a request gets everything that it needs, or nothing.
    queue: Mutex<QueueState>,
    /// A [`MovingAverage`] of the throughput in tokens per second of work, as bits. Only the engine's thread writes
    /// it.
    rate: AtomicU64,
    /// The number of tokens that the running sequences are expected to run still. Only the engine's thread writes it.
    running_tokens: AtomicU64,
    /// Keys of blocks that are or will be cached, each in the slot of its first bits. A key overwritten by another
    /// one only makes a prompt count as longer than it is. Relaxed ordering is enough, since each slot is
    /// independent.
    known: Vec<AtomicU64>,
}

/// A request that needs room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueClient<'a> {
    /// The ticket of the request.
    pub(crate) ticket: &'a Ticket,
    pub(crate) tenant: &'a Tenant,
    /// The fraction of the queue that the tenant may use.
    pub(crate) share: f32,
    pub(crate) urgency: Urgency,
    /// Its place among the waiters, if it has one.
    pub(crate) place: Option<&'a Place>,
}

/// The reason why there is no room.
#[derive(Debug)]
pub(crate) struct NoRoom {
    pub(crate) error: EngineError,
    /// What the request waits for; `None` if it is rejected with the error.
    pub(crate) waits_for: Option<WaitsFor>,
}

/// A part that tries to join the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueEntry<'a> {
    pub(crate) client: QueueClient<'a>,
    pub(crate) lane: Lane,
    /// Number of tokens of its prompt.
    pub(crate) tokens: usize,
    /// Keys of the shareable full blocks of its prompt.
    pub(crate) keys: &'a [BlockKey],
    /// Number of tokens per block.
    pub(crate) block_size: usize,
}

/// A part being prepared for the queue, until this is dropped.
#[derive(Debug)]
pub(crate) struct Preparation {
    backlog: Arc<Backlog>,
    ticket: Ticket,
    /// The tenant whose share it uses, if that is limited.
    tenant: Option<Tenant>,
}

/// The place of a part in the queue; dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct QueueSlot {
    backlog: Arc<Backlog>,
    ticket: Ticket,
    part: QueuedPart,
    /// The tenant whose share it uses, if that is limited.
    tenant: Option<Tenant>,
}

impl Default for Backlog {
    fn default() -> Self {
        Self::with_slots(KNOWN_SLOTS)
    }
}

impl Backlog {
    /// An empty queue with slots for `slots` keys of cached blocks.
    pub(crate) fn with_slots(slots: usize) -> Self {
        Self {
            queue: Mutex::default(),
            rate: AtomicU64::new(0),
            running_tokens: AtomicU64::new(0),
            known: (0..slots).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Counts a part being prepared for the queue, when `free` more sequences could run at once. A request for
    /// which there will be no room is rejected before any work is done for it. A further part of a request is not
    /// prepared as long as there are too many parts, but the request is not rejected for that.
    ///
    /// # Errors
    /// As for [`join`](Self::join), by the numbers of requests and parts alone, since the number of tokens is not
    /// known yet.
    pub(crate) fn prepare(
        self: &Arc<Self>,
        client: QueueClient<'_>,
        config: &Config,
        free: usize,
    ) -> Result<Preparation, NoRoom> {
        let mut standing = client.ticket.standing();
        let demand = if standing.prepares() { Demand::FurtherPreparation } else { Demand::Preparation };
        self.take(client, &mut standing, demand, QueueLimits::of(client, config).and(free))?;
        standing.prepare();
        let tenant = client.bounded().cloned();
        Ok(Preparation { backlog: self.clone(), ticket: client.ticket.clone(), tenant })
    }

    /// Adds a part to the queue. When no tokens wait, a single part of any length may join.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] when there is no room in the queue, [`EngineError::ShareTaken`] when there is
    /// none in the tenant's share. A request that waits for something is not rejected; it may take a [`Place`], and
    /// try again.
    pub(crate) fn join(
        self: &Arc<Self>,
        entry: QueueEntry<'_>,
        config: &Config,
    ) -> Result<QueueSlot, NoRoom> {
        let QueueEntry { client, lane, tokens, keys, block_size } = entry;
        let known = keys.iter().take_while(|key| self.knows(key)).count() * block_size;
        let part = QueuedPart { lane, tokens: tokens.saturating_sub(known) };
        let mut standing = client.ticket.standing();
        self.take(client, &mut standing, Demand::Join(part), QueueLimits::of(client, config))?;
        standing.join();
        // Later prompts with the same prefix will find it computed.
        keys.iter().for_each(|key| self.learn(key));
        let tenant = client.bounded().cloned();
        Ok(QueueSlot { backlog: self.clone(), ticket: client.ticket.clone(), part, tenant })
    }

    /// Reserves room, and counts the request if it is not counted yet. Without room, the request is rejected as a
    /// whole, unless it or the part waits.
    fn take(
        &self,
        client: QueueClient<'_>,
        standing: &mut Standing,
        demand: Demand,
        most: QueueLimits,
    ) -> Result<(), NoRoom> {
        if let Some(refused) = &standing.refused {
            return Err(NoRoom { error: refused.clone(), waits_for: None });
        }
        let wanted = Wanted { join_order: standing.join_order(), is_new: standing.counted.is_none(), demand };
        let waits = match demand {
            Demand::FurtherPreparation => true,
            Demand::Preparation | Demand::Join(_) => standing.waits(),
        };
        let waits_for = wanted.room().filter(|_| waits).map(|room| client.waits_for(room));
        let mut queue = self.queue();
        let may_take = waits_for.as_ref().is_none_or(|what| queue.waiters.may_take(what, client.place));
        let taken = match may_take {
            true => queue.take(client, wanted, most),
            // What is free is for those before it.
            false => Err(Exceeded { bound: Bound::Requests, load: queue.all }),
        };
        if let Err(exceeded) = taken {
            let error = self.error(exceeded);
            if waits_for.is_none() {
                queue.note_refused(exceeded.bound);
                standing.refused = Some(error.clone());
            }
            if let Some(place) = client.place {
                queue.waiters.note_failure(place);
            }
            return Err(NoRoom { error, waits_for });
        }
        if wanted.is_new {
            standing.counted = Some(Counted { tenant: client.bounded().cloned() });
        }
        Ok(())
    }

    /// The error for a lack of room.
    fn error(&self, exceeded: Exceeded) -> EngineError {
        let Exceeded { bound, load: Load { requests, tokens, .. } } = exceeded;
        let retry_after_s = self.retry_after_s(tokens);
        match bound {
            Bound::Requests | Bound::Tokens => EngineError::Overloaded { requests, tokens, retry_after_s },
            Bound::Share => EngineError::ShareTaken { requests, tokens, retry_after_s },
        }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, QueueState> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls those that are next, since there may be more room.
    pub(crate) fn call(&self) {
        let called = self.queue().call();
        called.iter().for_each(Ticket::wake);
    }

    /// Number of requests with a part that waits or is being prepared.
    #[cfg(test)]
    pub(crate) fn requests(&self) -> usize {
        self.queue().all.requests
    }

    /// Number of parts in the queue.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> usize {
        self.queue().all.parts
    }

    /// Number of parts of one lane in the queue.
    pub(crate) fn lane_parts(&self, lane: Lane) -> usize {
        let queue = self.queue();
        match lane {
            Lane::Score => queue.all.parts - queue.explaining,
            Lane::Explain => queue.explaining,
        }
    }

    /// Number of uncached prompt tokens in the queue.
    pub(crate) fn tokens(&self) -> usize {
        self.queue().all.tokens
    }

    /// Number of rejected requests: because of the number of requests, and because of their tokens.
    pub(crate) fn refused(&self) -> (u64, u64) {
        let queue = self.queue();
        (queue.refused_requests, queue.refused_tokens)
    }

    /// Recent throughput in tokens per second of work; 0 before the first step.
    pub(crate) fn rate(&self) -> u64 {
        let rate = MovingAverage::from_bits(self.rate.load(Relaxed)).value();
        rate.map_or(0, |rate| (rate as u64).max(1))
    }

    /// Records a step of `tokens` tokens that took `seconds`.
    pub(crate) fn note_step(&self, tokens: usize, seconds: f64) {
        let before = MovingAverage::from_bits(self.rate.load(Relaxed));
        let rate = before.after(tokens as f64 / seconds.max(1e-6));
        self.rate.store(rate.to_bits(), Relaxed);
    }

    /// Records how many tokens the running sequences are expected to run still.
    pub(crate) fn set_running_tokens(&self, tokens: usize) {
        self.running_tokens.store(tokens as u64, Relaxed);
    }

    /// Records that a block is or will be cached.
    pub(crate) fn learn(&self, key: &BlockKey) {
        self.slot(key).store(key.bits(), Relaxed);
    }

    /// Records that a block is no longer cached.
    pub(crate) fn forget(&self, key: &BlockKey) {
        let _ = self.slot(key).compare_exchange(key.bits(), 0, Relaxed, Relaxed);
    }

    /// Records that no block is cached.
    pub(crate) fn forget_all(&self) {
        self.known.iter().for_each(|slot| slot.store(0, Relaxed));
    }

    fn knows(&self, key: &BlockKey) -> bool {
        self.slot(key).load(Relaxed) == key.bits()
    }

    fn slot(&self, key: &BlockKey) -> &AtomicU64 {
        &self.known[key.bits() as usize % self.known.len()]
    }

    /// The time in seconds after which this many waiting tokens should have been processed, from 1 to `MAX_RETRY_S`.
    /// The running sequences come first, since what waits does so for their places.
    pub(crate) fn retry_after_s(&self, waiting: usize) -> u64 {
        let tokens = self.running_tokens.load(Relaxed).saturating_add(waiting as u64);
        let rate = self.rate();
        if rate == 0 { 1 } else { tokens.div_ceil(rate).clamp(1, MAX_RETRY_S) }
    }
}

impl<'a> QueueClient<'a> {
    /// The tenant, if its share is limited.
    pub(super) fn bounded(self) -> Option<&'a Tenant> {
        (self.share < 1.0).then_some(self.tenant)
    }

    /// Names what it waits for.
    fn waits_for(self, room: Room) -> WaitsFor {
        WaitsFor { tenant: self.tenant.clone(), urgency: self.urgency, room }
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        let mut standing = self.ticket.standing();
        let mut queue = self.backlog.queue();
        let QueuedPart { lane, tokens } = self.part;
        queue.end(standing.leave());
        queue.give_back(self.tenant.as_ref(), |load| {
            (load.parts, load.tokens) = (load.parts - 1, load.tokens - tokens);
        });
        queue.explaining -= usize::from(lane == Lane::Explain);
        let called = queue.call();
        drop((queue, standing));
        // Its own request may now do what it could not before, whoever waits before it.
        self.ticket.wake();
        called.iter().for_each(Ticket::wake);
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        let mut standing = self.ticket.standing();
        let mut queue = self.backlog.queue();
        queue.end(standing.prepared());
        queue.give_back(self.tenant.as_ref(), |load| load.preparing -= 1);
        let called = queue.call();
        drop((queue, standing));
        // As for a part that leaves the queue.
        self.ticket.wake();
        called.iter().for_each(Ticket::wake);
    }
}
