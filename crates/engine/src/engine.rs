//! The handle that callers hold.

use std::{
    collections::BTreeSet,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use critic::{Backend, Encoded, Limits, SamplingParams, SequenceId};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::{
    arrival::{Arrival, Identity},
    audience::{Audience, Listener},
    backlog::{Backlog, Coming, Newcomer},
    config::Config,
    error::EngineError,
    observer::{Observer, Unobserved},
    prefix_cache::{block_keys, root},
    request::{Part, Request, Tenant, Terms, Urgency},
    scheduler::Scheduler,
    stats::{Counters, Stats},
    stream::TokenStream,
    suspects::{Fingerprint, Standing, Suspect, Suspects},
    worker::Worker,
};

/// A running engine. Clones are handles to the same one; when the last is dropped and all work is done, its thread ends.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The way into the waiting line. The line itself is the scheduler's, which looks past its head; its bound is kept by
    /// [`Backlog`], so the channel needs none.
    inbox: mpsc::UnboundedSender<Arrival>,
    config: Config,
    limits: Limits,
    backlog: Arc<Backlog>,
    counters: Arc<Counters>,
    /// Whether everything is to end: looked at between two steps.
    given_up: Arc<AtomicBool>,
    suspects: Arc<Suspects>,
    next_id: Arc<AtomicU64>,
}

/// A request that is made ready for the waiting line, until it is dropped.
#[derive(Debug)]
pub struct Preparing {
    _coming: Coming,
}

impl Engine {
    /// Starts the thread that owns `backend`.
    pub fn start(backend: Box<dyn Backend>, config: Config) -> Self {
        Self::observed(backend, config, Arc::new(Unobserved))
    }

    /// The same, watched by `observer`.
    pub fn observed(backend: Box<dyn Backend>, config: Config, observer: Arc<dyn Observer>) -> Self {
        let limits = backend.limits();
        let (inbox, arrivals) = mpsc::unbounded_channel();
        let (counters, backlog) = (Arc::new(Counters::default()), Arc::new(Backlog::default()));
        let scheduler = Scheduler::new(limits, config, backlog.clone());
        counters.set_state(&scheduler, backend.figures());
        let (given_up, suspects) = (Arc::new(AtomicBool::new(false)), Arc::new(Suspects::default()));
        let worker = Worker {
            given_up: given_up.clone(),
            suspects: suspects.clone(),
            noted: BTreeSet::new(),
            backend,
            config,
            scheduler,
            arrivals,
            counters: counters.clone(),
            backlog: backlog.clone(),
            observer,
        };
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || worker.run())
            .expect("a process can start one more thread");
        Self { inbox, config, limits, backlog, counters, given_up, suspects, next_id: Arc::default() }
    }

    /// Takes over what is known of requests that earlier engines were running when they died.
    pub fn remember(&self, suspects: &[Suspect]) {
        self.suspects.remember(suspects, Instant::now());
    }

    /// Counts a request whose prompt is being encoded as one that will come, until what is returned is dropped. So many are let
    /// in as can wait or run: a flood is refused before its prompts cost anything, and does not make others wait to be encoded.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] or [`EngineError::ShareTaken`] when there will be no room.
    pub fn prepare(
        &self,
        tenant: &Tenant,
        terms: &Terms,
        urgency: Urgency,
    ) -> Result<Preparing, EngineError> {
        let free = self.config.max_sequences.saturating_sub(self.counters.running());
        let coming = self.backlog.prepare((tenant, terms.queue_share, urgency), &self.config, free)?;
        Ok(Preparing { _coming: coming })
    }

    /// Puts a request into the waiting line; never waits itself.
    ///
    /// # Errors
    /// [`EngineError`] when the line is full, the request can never fit, it is empty, engines died of it, or the thread has ended.
    pub fn submit(&self, request: Request) -> Result<TokenStream, EngineError> {
        let (tokens, reply) = (request.encoded.tokens.len(), request.max_reply_tokens());
        let decides = |part: &Part| {
            matches!(
                part,
                Part::Write(1..) | Part::WriteBy { tokens: 1.., .. } | Part::Choose { .. } | Part::Rate
            )
        };
        if tokens == 0 || !request.script.iter().any(decides) {
            return Err(EngineError::Empty);
        }
        let limit = self.capacity();
        if tokens + reply > limit {
            return Err(EngineError::TooLong { tokens, limit });
        }
        let fingerprint = fingerprint(&request);
        let runs_alone = match self.suspects.standing(&fingerprint, Instant::now()) {
            Standing::Clear => false,
            Standing::Suspect => true,
            Standing::Refused(left) => {
                return Err(EngineError::Quarantined { left_s: left.as_secs().max(1) });
            }
        };
        let root = root(&self.config.cache_secret, &request.tenant, &request.terms);
        let block_keys = block_keys(&request.encoded, self.limits.block_size, root);
        let newcomer = Newcomer {
            lane: request.lane(),
            urgency: request.urgency,
            tokens,
            keys: &block_keys,
            block_size: self.limits.block_size,
            tenant: &request.tenant,
            share: request.terms.queue_share,
        };
        let place = self.backlog.join(newcomer, &self.config)?;
        // Every token, an event for each piece, the beginning and the end: sending can never find it full.
        let events = reply + request.script.len() + 2;
        let (listener, stream) = Listener::connected(events, request.deadline, request.patience.clone());
        let arrival = Arrival {
            id: SequenceId(self.next_id.fetch_add(1, Relaxed)),
            identity: identity(fingerprint, root),
            fingerprint,
            runs_alone,
            audience: Audience::new(listener),
            place: Some(place),
            arrived: Instant::now(),
            block_keys,
            request,
        };
        self.inbox.send(arrival).map_err(|_| EngineError::Stopped)?;
        Ok(stream)
    }

    /// Ends everything that waits or runs before the next step, and all that comes later.
    pub fn give_up(&self) {
        self.given_up.store(true, Relaxed);
    }

    /// The most tokens that a prompt and its output may have together.
    pub fn capacity(&self) -> usize {
        self.limits.context_length.min(self.limits.block_size * self.limits.block_count)
    }

    /// The sizes of the model.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Waits until the engine's thread has ended, which before the last handle is dropped means that the model's code
    /// panicked.
    pub async fn stopped(&self) {
        self.inbox.closed().await;
    }

    /// Figures of this moment.
    pub fn stats(&self) -> Stats {
        self.counters.stats(!self.inbox.is_closed(), self.limits.block_count, &self.backlog)
    }
}

/// Names everything that an answer depends on, for one tenant.
fn identity(fingerprint: Fingerprint, root: [u8; 32]) -> Identity {
    Sha256::new().chain_update(root).chain_update(fingerprint.0).finalize().into()
}

/// The same for everybody.
fn fingerprint(request: &Request) -> Fingerprint {
    let Encoded { tokens, visuals } = &request.encoded;
    let mut digest = Digesting(Sha256::new());
    tokens.hash(&mut digest);
    visuals.iter().for_each(|visual| (visual.start, visual.hash).hash(&mut digest));
    (&request.script, &request.end_tokens).hash(&mut digest);
    // Without drawing, the random numbers do not matter.
    let seed = if request.sampling.temperature > 0.0 { request.sampling.seed } else { 0 };
    let sampling = SamplingParams { seed, ..request.sampling.clone() };
    digest.write(format!("{sampling:?}").as_bytes()); // it has floats, which have no hash
    Fingerprint(digest.0.finalize().into())
}

/// Feeds a digest what is hashed, so that even a client that tries finds no two requests of one name.
struct Digesting(Sha256);

impl Hasher for Digesting {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the whole digest is taken")
    }
}
