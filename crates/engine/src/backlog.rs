//! How much waits, how fast it goes, and whether there is room for more. Handles ask; the engine's thread keeps it true.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{
    config::Config,
    error::EngineError,
    prefix_cache::BlockKey,
    request::{Lane, Tenant, Urgency},
};

/// Slots for names of known blocks: 512 KiB, room for the blocks of two million tokens.
const KNOWN_SLOTS: usize = 1 << 16;

/// The longest time that a client is told to stay away; by then the figures have changed anyway.
const MAX_RETRY_S: u64 = 60;

/// The waiting line in figures. Relaxed throughout: each figure stands alone.
#[derive(Debug)]
pub(crate) struct Backlog {
    score_requests: AtomicUsize,
    explain_requests: AtomicUsize,
    tokens: AtomicUsize,
    /// Tokens that were run each second of work, lately; 0 before the first step.
    rate: AtomicU64,
    refused_requests: AtomicU64,
    refused_tokens: AtomicU64,
    /// Requests and tokens of each tenant that may not have the whole line, as long as it has some there. A lock that is held to
    /// count, and not taken where nobody is bounded.
    shares: Mutex<HashMap<Tenant, (usize, usize)>>,
    /// Names of blocks that are kept or will be, each in the slot of its first bits. One that another one pushed out only
    /// makes a prompt look longer than it is.
    known: Vec<AtomicU64>,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            score_requests: AtomicUsize::new(0),
            explain_requests: AtomicUsize::new(0),
            tokens: AtomicUsize::new(0),
            rate: AtomicU64::new(0),
            refused_requests: AtomicU64::new(0),
            refused_tokens: AtomicU64::new(0),
            shares: Mutex::default(),
            known: (0..KNOWN_SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
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
    /// Joins the line. Whoever may wait finds half of it: the other half is for those that may not.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] when the line is full, [`EngineError::ShareTaken`] when the tenant's part of it is. Where
    /// nothing waits, any one request may.
    pub(crate) fn join(
        self: &Arc<Self>,
        newcomer: Newcomer<'_>,
        config: &Config,
    ) -> Result<Place, EngineError> {
        let Newcomer { lane, urgency, tokens, keys, block_size, tenant, share } = newcomer;
        let known = keys.iter().take_while(|key| self.knows(key)).count() * block_size;
        let tokens = tokens.saturating_sub(known);
        // The place is taken first and given back on refusal, so that two requests cannot both take the last one.
        let (requests, waiting) = (self.requests(), self.tokens.fetch_add(tokens, Relaxed));
        self.lane(lane).fetch_add(1, Relaxed);
        let mut place = Place { backlog: self.clone(), lane, tokens, tenant: None };
        let part = match urgency {
            Urgency::Now => 1,
            Urgency::Whenever => 2,
        };
        let refused = if self.requests() > (config.max_waiting / part).max(1) {
            Some(&self.refused_requests)
        } else if requests > 0 && waiting + tokens > config.max_waiting_tokens / part {
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
        let (requests, waiting) = shares.get(tenant).copied().unwrap_or_default();
        let full =
            requests >= part(config.max_waiting).max(1) || waiting + tokens > part(config.max_waiting_tokens);
        if requests > 0 && full {
            let retry_after_s = self.retry_after_s(waiting);
            return Err(EngineError::ShareTaken { requests, tokens: waiting, retry_after_s });
        }
        shares.insert(tenant.clone(), (requests + 1, waiting + tokens));
        Ok(tenant.clone())
    }

    fn give_share_back(&self, tenant: &Tenant, tokens: usize) {
        let mut shares = self.shares();
        if let Some((requests, waiting)) = shares.get_mut(tenant) {
            (*requests, *waiting) = (*requests - 1, *waiting - tokens);
            if *requests == 0 {
                shares.remove(tenant);
            }
        }
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<Tenant, (usize, usize)>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests in the line.
    pub(crate) fn requests(&self) -> usize {
        self.lane_requests(Lane::Score) + self.lane_requests(Lane::Explain)
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

    fn knows(&self, key: &BlockKey) -> bool {
        self.slot(key).load(Relaxed) == key.bits()
    }

    fn slot(&self, key: &BlockKey) -> &AtomicU64 {
        &self.known[key.bits() as usize % KNOWN_SLOTS]
    }

    fn lane(&self, lane: Lane) -> &AtomicUsize {
        match lane {
            Lane::Score => &self.score_requests,
            Lane::Explain => &self.explain_requests,
        }
    }

    fn retry_after_s(&self, tokens: usize) -> u64 {
        let rate = self.rate();
        if rate == 0 { 1 } else { (tokens as u64).div_ceil(rate).clamp(1, MAX_RETRY_S) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.backlog.tokens.fetch_sub(self.tokens, Relaxed);
        self.backlog.lane(self.lane).fetch_sub(1, Relaxed);
        if let Some(tenant) = &self.tenant {
            self.backlog.give_share_back(tenant, self.tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use critic::{Encoded, TokenId};

    use super::*;
    use crate::{
        prefix_cache::{block_keys, root},
        request::Terms,
    };

    fn keys(tokens: &[u32]) -> Vec<BlockKey> {
        let tokens = tokens.iter().map(|id| TokenId(*id)).collect();
        block_keys(
            &Encoded { tokens, visuals: Vec::new() },
            4,
            root(&[0; 32], &Tenant::default(), &Terms::default()),
        )
    }

    fn config(max_waiting: usize, max_waiting_tokens: usize) -> Config {
        Config { max_waiting, max_waiting_tokens, ..Config::default() }
    }

    fn newcomer(lane: Lane, tokens: usize, keys: &[BlockKey]) -> Newcomer<'_> {
        static TENANT: std::sync::LazyLock<Tenant> = std::sync::LazyLock::new(Tenant::default);
        Newcomer { lane, urgency: Urgency::Now, tokens, keys, block_size: 4, tenant: &TENANT, share: 1.0 }
    }

    #[test]
    fn a_tenant_takes_no_more_than_its_share_and_gets_it_back() {
        let backlog = Arc::new(Backlog::default());
        let config = config(8, 1000);
        let [a, b] = ["a", "b"].map(|name| Tenant(name.into()));
        let of = |tenant, tokens| {
            let newcomer = Newcomer { tenant, share: 0.25, ..newcomer(Lane::Score, tokens, &[]) };
            backlog.join(newcomer, &config)
        };
        let first = of(&a, 10).unwrap();
        let _second = of(&a, 10).unwrap();
        let refused = of(&a, 10).unwrap_err();
        assert!(matches!(refused, EngineError::ShareTaken { requests: 2, tokens: 20, .. }), "{refused}");
        assert_eq!(backlog.requests(), 2, "whoever is refused leaves no trace");
        // Tokens count too, but one request always may wait.
        let large = of(&b, 900).unwrap();
        assert!(of(&b, 1).is_err());
        drop(first);
        let _third = of(&a, 10).unwrap();
        drop(large);
        assert_eq!(backlog.shares().len(), 1);
    }

    #[test]
    fn a_known_beginning_counts_once_and_places_are_given_back() {
        let backlog = Arc::new(Backlog::default());
        let config = config(10, 30);
        let prompt: Vec<u32> = (0..21).collect();
        let first = backlog.join(newcomer(Lane::Score, 21, &keys(&prompt)), &config).unwrap();
        let second = backlog.join(newcomer(Lane::Explain, 21, &keys(&prompt)), &config).unwrap();
        assert_eq!((backlog.tokens(), backlog.requests()), (22, 2));
        let other: Vec<u32> = (100..121).collect();
        assert!(backlog.join(newcomer(Lane::Score, 21, &keys(&other)), &config).is_err());
        assert_eq!((backlog.tokens(), backlog.requests()), (22, 2));
        drop((first, second));
        assert_eq!((backlog.tokens(), backlog.requests()), (0, 0));
        backlog.forget(&keys(&prompt)[1]);
        let _third = backlog.join(newcomer(Lane::Score, 21, &keys(&prompt)), &config).unwrap();
        assert_eq!(backlog.tokens(), 17);
    }

    #[test]
    fn an_empty_line_takes_any_request_and_a_full_one_tells_when_to_come_back() {
        let backlog = Arc::new(Backlog::default());
        let config = config(2, 10);
        let _first = backlog.join(newcomer(Lane::Score, 500, &[]), &config).unwrap();
        let told = |refused: Result<Place, EngineError>| match refused.unwrap_err() {
            EngineError::Overloaded { requests, tokens, retry_after_s } => (requests, tokens, retry_after_s),
            other => panic!("{other}"),
        };
        assert_eq!(told(backlog.join(newcomer(Lane::Score, 1, &[]), &config)), (1, 500, 1));
        backlog.note_step(1000, 10.0);
        assert_eq!(told(backlog.join(newcomer(Lane::Score, 1, &[]), &config)), (1, 500, 5));
        let _second =
            backlog.join(newcomer(Lane::Score, 0, &[]), &Config { max_waiting_tokens: 999, ..config });
        assert_eq!(told(backlog.join(newcomer(Lane::Score, 0, &[]), &config)), (2, 500, 5));
        assert_eq!(backlog.refused(), (1, 2));
    }

    #[test]
    fn whoever_may_wait_finds_half_of_the_line() {
        let backlog = Arc::new(Backlog::default());
        let config = config(4, 1000);
        let join = |urgency| backlog.join(Newcomer { urgency, ..newcomer(Lane::Score, 1, &[]) }, &config);
        let _places = [join(Urgency::Whenever).unwrap(), join(Urgency::Whenever).unwrap()];
        assert!(join(Urgency::Whenever).is_err());
        let _more = [join(Urgency::Now).unwrap(), join(Urgency::Now).unwrap()];
        assert!(join(Urgency::Now).is_err());
    }
}
