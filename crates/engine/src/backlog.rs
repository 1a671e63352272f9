//! How much waits, how fast it goes, and whether there is room for more. Handles ask; the engine's thread keeps it true.

use std::{collections::HashMap, sync::PoisonError};

use crate::{
    config::Config,
    error::EngineError,
    prefix_cache::BlockKey,
    request::{Lane, Tenant, Urgency},
    sync::{Arc, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering::Relaxed},
};

/// Slots for names of known blocks: 512 KiB, room for the blocks of two million tokens.
const KNOWN_SLOTS: usize = 1 << 16;

/// The longest time that a client is told to stay away: clients of OpenAI's kind give up at longer ones, and the figures have changed
/// by then anyway.
const MAX_RETRY_S: u64 = 20;

/// The waiting line in figures. Relaxed throughout: each figure stands alone.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// Those of both lanes, in one number, so that of several that come at once exactly as many get in as there is room for.
    requests: AtomicUsize,
    score_requests: AtomicUsize,
    explain_requests: AtomicUsize,
    tokens: AtomicUsize,
    /// Requests that are made ready for the line.
    preparing: AtomicUsize,
    /// Tokens that were run each second of work, lately; 0 before the first step.
    rate: AtomicU64,
    refused_requests: AtomicU64,
    refused_tokens: AtomicU64,
    /// What each tenant that may not have the whole line has of it, as long as it has something there. A lock that is held to
    /// count, and not taken where nobody is bounded.
    shares: Mutex<HashMap<Tenant, Share>>,
    /// Names of blocks that are kept or will be, each in the slot of its first bits. One that another one pushed out only
    /// makes a prompt look longer than it is.
    known: Vec<AtomicU64>,
}

impl Default for Backlog {
    fn default() -> Self {
        Self::with_slots(KNOWN_SLOTS)
    }
}

impl Backlog {
    /// An empty line with room for the names of `slots` known blocks.
    pub(crate) fn with_slots(slots: usize) -> Self {
        Self {
            requests: AtomicUsize::new(0),
            score_requests: AtomicUsize::new(0),
            explain_requests: AtomicUsize::new(0),
            tokens: AtomicUsize::new(0),
            preparing: AtomicUsize::new(0),
            rate: AtomicU64::new(0),
            refused_requests: AtomicU64::new(0),
            refused_tokens: AtomicU64::new(0),
            shares: Mutex::default(),
            known: (0..slots).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

/// A tenant's part of the line.
#[derive(Debug, Default)]
pub(crate) struct Share {
    requests: usize,
    tokens: usize,
    preparing: usize,
}

/// A request that is made ready for the line, until it is dropped.
#[derive(Debug)]
pub(crate) struct Coming {
    backlog: Arc<Backlog>,
    /// Whose share it is a part of.
    tenant: Option<Tenant>,
}

/// A place in the waiting line; dropping it leaves the line.
#[derive(Debug)]
pub(crate) struct Place {
    backlog: Arc<Backlog>,
    lane: Lane,
    tokens: usize,
    /// Whose share it is a part of.
    tenant: Option<Tenant>,
}

/// Who wants to join.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Newcomer<'a> {
    pub(crate) lane: Lane,
    pub(crate) urgency: Urgency,
    /// Tokens of its prompt.
    pub(crate) tokens: usize,
    /// Names of the full blocks of its prompt.
    pub(crate) keys: &'a [BlockKey],
    /// Tokens of a block.
    pub(crate) block_size: usize,
    pub(crate) tenant: &'a Tenant,
    /// The part of the line that the tenant may take.
    pub(crate) share: f32,
}

impl Backlog {
    /// Counts a request that is made ready, where `free` sequences could run at once: one for which there will be no room is refused
    /// before anything is done for it.
    ///
    /// # Errors
    /// As of joining, by the number of requests alone: how many tokens it has is not known yet.
    pub(crate) fn prepare(
        self: &Arc<Self>,
        (tenant, share, urgency): (&Tenant, f32, Urgency),
        config: &Config,
        free: usize,
    ) -> Result<Coming, EngineError> {
        let before = self.preparing.fetch_add(1, Relaxed);
        let mut coming = Coming { backlog: self.clone(), tenant: None };
        let requests = self.requests.load(Relaxed) + before;
        let tokens = self.tokens();
        let retry_after_s = self.retry_after_s(tokens);
        if requests >= (config.max_waiting / part_of(urgency)).max(1) + free {
            self.refused_requests.fetch_add(1, Relaxed);
            return Err(EngineError::Overloaded { requests, tokens, retry_after_s });
        }
        if share < 1.0 {
            let most = (config.max_waiting as f64 * f64::from(share)) as usize;
            let mut shares = self.shares();
            let own = shares.entry(tenant.clone()).or_default();
            let requests = own.requests + own.preparing;
            if requests >= most.max(1) + free {
                return Err(EngineError::ShareTaken { requests, tokens: own.tokens, retry_after_s });
            }
            own.preparing += 1;
            coming.tenant = Some(tenant.clone());
        }
        Ok(coming)
    }

    /// Joins the line. Whoever may wait finds half of it: the other half is for those that may not.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] when the line is full, [`EngineError::ShareTaken`] when the tenant's part of it is. Where
    /// no token waits, any one request may.
    pub(crate) fn join(
        self: &Arc<Self>,
        newcomer: Newcomer<'_>,
        config: &Config,
    ) -> Result<Place, EngineError> {
        let Newcomer { lane, urgency, tokens, keys, block_size, tenant, share } = newcomer;
        let known = keys.iter().take_while(|key| self.knows(key)).count() * block_size;
        let tokens = tokens.saturating_sub(known);
        // The place is taken first and given back on refusal. Each number is read as it is added to: of two requests that come
        // at once one sees the other, so that they cannot both take the last place, nor both find the line empty.
        let requests = self.requests.fetch_add(1, Relaxed);
        let waiting = self.tokens.fetch_add(tokens, Relaxed);
        self.lane(lane).fetch_add(1, Relaxed);
        let mut place = Place { backlog: self.clone(), lane, tokens, tenant: None };
        let part = part_of(urgency);
        let refused = if requests >= (config.max_waiting / part).max(1) {
            Some(&self.refused_requests)
        } else if waiting > 0 && waiting + tokens > config.max_waiting_tokens / part {
            Some(&self.refused_tokens)
        } else {
            None
        };
        if let Some(refused) = refused {
            refused.fetch_add(1, Relaxed);
            return Err(EngineError::Overloaded {
                requests,
                tokens: waiting,
                retry_after_s: self.retry_after_s(waiting),
            });
        }
        if share < 1.0 {
            place.tenant = Some(self.take_share(tenant, (tokens, share), config)?);
        }
        // Equal beginnings that come after this one will find it computed.
        keys.iter().for_each(|key| self.learn(key));
        Ok(place)
    }

    /// Counts one more request among those of `tenant`.
    fn take_share(
        &self,
        tenant: &Tenant,
        (tokens, share): (usize, f32),
        config: &Config,
    ) -> Result<Tenant, EngineError> {
        let part = |whole: usize| (whole as f64 * f64::from(share)) as usize;
        let mut shares = self.shares();
        let own = shares.entry(tenant.clone()).or_default();
        let (requests, waiting) = (own.requests, own.tokens);
        let full =
            requests >= part(config.max_waiting).max(1) || waiting + tokens > part(config.max_waiting_tokens);
        if requests > 0 && full {
            let retry_after_s = self.retry_after_s(waiting);
            return Err(EngineError::ShareTaken { requests, tokens: waiting, retry_after_s });
        }
        (own.requests, own.tokens) = (requests + 1, waiting + tokens);
        Ok(tenant.clone())
    }

    /// Takes something off a tenant's part, which is forgotten when nothing is left of it.
    fn give_share_back(&self, tenant: &Tenant, less: impl FnOnce(&mut Share)) {
        let mut shares = self.shares();
        if let Some(own) = shares.get_mut(tenant) {
            less(own);
            if own.requests + own.preparing == 0 {
                shares.remove(tenant);
            }
        }
    }

    pub(crate) fn shares(&self) -> MutexGuard<'_, HashMap<Tenant, Share>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests in the line.
    #[cfg(test)]
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }

    /// Requests of one lane in the line.
    pub(crate) fn lane_requests(&self, lane: Lane) -> usize {
        self.lane(lane).load(Relaxed)
    }

    /// Tokens of prompts in the line.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens.load(Relaxed)
    }

    /// Requests that were refused: for their number, and for their tokens.
    pub(crate) fn refused(&self) -> (u64, u64) {
        (self.refused_requests.load(Relaxed), self.refused_tokens.load(Relaxed))
    }

    /// Tokens that are run each second of work.
    pub(crate) fn rate(&self) -> u64 {
        self.rate.load(Relaxed)
    }

    /// Notes a step of `tokens` tokens that took `seconds`. The last ten steps or so make the rate.
    pub(crate) fn note_step(&self, tokens: usize, seconds: f64) {
        let now = tokens as f64 / seconds.max(1e-6);
        let before = self.rate();
        let rate = if before == 0 { now } else { 0.9 * before as f64 + 0.1 * now };
        self.rate.store((rate as u64).max(1), Relaxed);
    }

    /// Notes that a block is kept or will be.
    pub(crate) fn learn(&self, key: &BlockKey) {
        self.slot(key).store(key.bits(), Relaxed);
    }

    /// Notes that a block is kept no more.
    pub(crate) fn forget(&self, key: &BlockKey) {
        let _ = self.slot(key).compare_exchange(key.bits(), 0, Relaxed, Relaxed);
    }

    /// Notes that no block is kept.
    pub(crate) fn forget_all(&self) {
        self.known.iter().for_each(|slot| slot.store(0, Relaxed));
    }

    fn knows(&self, key: &BlockKey) -> bool {
        self.slot(key).load(Relaxed) == key.bits()
    }

    fn slot(&self, key: &BlockKey) -> &AtomicU64 {
        &self.known[key.bits() as usize % self.known.len()]
    }

    fn lane(&self, lane: Lane) -> &AtomicUsize {
        match lane {
            Lane::Score => &self.score_requests,
            Lane::Explain => &self.explain_requests,
        }
    }

    /// When so many tokens should have been run, in seconds.
    pub(crate) fn retry_after_s(&self, tokens: usize) -> u64 {
        let rate = self.rate();
        if rate == 0 { 1 } else { (tokens as u64).div_ceil(rate).clamp(1, MAX_RETRY_S) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.backlog.lane(self.lane).fetch_sub(1, Relaxed);
        self.backlog.tokens.fetch_sub(self.tokens, Relaxed);
        self.backlog.requests.fetch_sub(1, Relaxed);
        if let Some(tenant) = &self.tenant {
            self.backlog.give_share_back(tenant, |own| {
                (own.requests, own.tokens) = (own.requests - 1, own.tokens - self.tokens);
            });
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.backlog.preparing.fetch_sub(1, Relaxed);
        if let Some(tenant) = &self.tenant {
            self.backlog.give_share_back(tenant, |own| own.preparing -= 1);
        }
    }
}

/// Whoever may wait finds this part of the line, one by it.
fn part_of(urgency: Urgency) -> usize {
    match urgency {
        Urgency::Now => 1,
        Urgency::Whenever => 2,
    }
}
