//! The handle of an engine.

use std::{
    collections::BTreeSet,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use critic::{Backend, Encoded, Limits, SamplingParams, SequenceId, Sha256Hasher};
use sha2::{Digest, Sha256};
use tokio::sync::{futures::Notified, mpsc};

use crate::{
    arrival::{Arrival, Identity},
    config::Config,
    error::{EngineError, Failure},
    observer::{Observer, Unobserved},
    prefix_cache::{BlockKey, block_keys, root},
    queue::{
        backlog::{Backlog, NoRoom, Preparation, QueueClient, QueueEntry, QueueSlot},
        ticket::Ticket,
        timeout::QueueTimeout,
        waiters::Place,
    },
    request::{Client, Part, Request},
    scheduler::Scheduler,
    stats::{Counters, Stats},
    stream::TokenStream,
    subscribers::{Subscriber, Subscribers},
    suspects::{Fingerprint, Standing, Suspect, Suspects},
    worker::Worker,
};

/// A running engine. Clones are handles of the same engine; when the last one is dropped and all work is done, its
/// thread ends.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The channel to the engine's thread. The scheduler owns the queue itself, since it admits out of order;
    /// [`Backlog`] limits its length, so that the channel is unbounded.
    inbox: mpsc::UnboundedSender<Arrival>,
    config: Config,
    limits: Limits,
    backlog: Arc<Backlog>,
    counters: Arc<Counters>,
    /// Whether all requests must end; checked between steps.
    given_up: Arc<AtomicBool>,
    suspects: Arc<Suspects>,
    next_id: Arc<AtomicU64>,
}

/// A part of a request that is being prepared for the queue, until this is dropped.
#[derive(Debug)]
pub struct Preparing {
    _preparation: Preparation,
}

/// Why a part of a request is not prepared.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PrepareError {
    /// The request is rejected.
    #[error(transparent)]
    Rejected(#[from] EngineError),
    /// The part would fail as soon as it joined the queue, so that preparing it would be in vain.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Data derived from a request before it joins the queue.
struct Named {
    root: [u8; 32],
    block_keys: Vec<BlockKey>,
    fingerprint: Fingerprint,
    runs_alone: bool,
}

impl Engine {
    /// Starts the engine's thread, which owns `backend`.
    pub fn start(backend: Box<dyn Backend>, config: Config) -> Self {
        Self::observed(backend, config, Arc::new(Unobserved))
    }

    /// Starts the engine's thread with an observer.
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

    /// Adds requests that earlier engines were running when they died.
    pub fn remember(&self, suspects: &[Suspect]) {
        self.suspects.remember(suspects, Instant::now());
    }

    /// Counts a request whose prompt is being encoded as one that will join the queue, until the result is dropped.
    /// The limit is the number of requests that can wait or run, so that a flood is rejected before its prompts are
    /// encoded and does not delay the encoding of others. A request counts once, however many parts it has; one
    /// with a [patient](Ticket::patient) ticket waits for room. A further part of a request waits while as many
    /// parts as requests may wait are being prepared or in the queue, so that the memory for prompts is bounded. Those
    /// of one tenant that wait for the same get it in order of arrival.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] or [`EngineError::ShareTaken`] when there will be no room, [`Failure::Expired`]
    /// when the deadline has passed, and [`Failure::QueueTimedOut`] when another part of the request waited too long
    /// in the queue.
    pub async fn prepare(&self, ticket: &Ticket, client: &Client) -> Result<Preparing, PrepareError> {
        let Client { tenant, terms, urgency, deadline, queue_timeout } = client;
        let (urgency, deadline, queue_timeout) = (*urgency, *deadline, queue_timeout.as_ref());
        let _turn = ticket.preparation_turn().await;
        let mut place = None;
        loop {
            let woken = ticket.woken();
            let free = self.config.max_sequences.saturating_sub(self.counters.running());
            let share = terms.queue_share;
            let client = QueueClient { ticket, tenant, share, urgency, place: place.as_ref() };
            let prepared = self.backlog.prepare(client, &self.config, free);
            if let Some(most) = queue_timeout.and_then(QueueTimeout::timed_out) {
                return Err(self.queue_timed_out(most).into());
            }
            let waits_for = match prepared {
                Ok(_) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                    return Err(Failure::Expired.into());
                }
                Ok(preparation) => return Ok(Preparing { _preparation: preparation }),
                Err(NoRoom { error, waits_for: None }) => return Err(error.into()),
                Err(NoRoom { waits_for: Some(waits_for), .. }) => waits_for,
            };
            if Place::take(&mut place, &self.backlog, waits_for, ticket) {
                continue;
            }
            if !woken_in_time(woken, deadline).await {
                if ticket.is_counted() {
                    return Err(Failure::Expired.into());
                }
                // The last attempt; without room, the request is rejected.
                ticket.stop_waiting();
            }
        }
    }

    /// Adds a request to the queue, as the only part of a client's request. Never waits.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] or [`EngineError::ShareTaken`] when the queue is full, [`EngineError::TooLong`]
    /// when the request can never fit, [`EngineError::Empty`] when its prompt or its script has nothing to run,
    /// [`EngineError::Quarantined`] when engines died of it, and [`EngineError::Stopped`] when the engine's thread
    /// has ended.
    pub fn submit(&self, request: Request) -> Result<TokenStream, EngineError> {
        let named = self.name(&request)?;
        // A new ticket that is not patient waits for nothing.
        let joined = self.join((&request, &named), &Ticket::default(), None);
        let queue_slot = joined.map_err(|no_room| no_room.error)?;
        self.send(request, named, queue_slot)
    }

    /// Adds a part of a client's request to the queue. It waits for room if another part was accepted or the ticket
    /// is patient, in order of arrival among those of its tenant that wait for the same. The returned stream fails if
    /// the deadline passes before there is room, or if the request times out in the queue: then all of its parts do,
    /// including this one.
    ///
    /// # Errors
    /// As for [`submit`](Self::submit); a full queue rejects all parts of a request or none.
    pub async fn submit_part(&self, request: Request, ticket: &Ticket) -> Result<TokenStream, EngineError> {
        let named = self.name(&request)?;
        let turn = ticket.turn().await;
        let queue_timeout = request.client.queue_timeout.as_ref();
        let mut place = None;
        let queue_slot = loop {
            let woken = ticket.woken();
            if let Some(most) = queue_timeout.and_then(QueueTimeout::timed_out) {
                return Ok(TokenStream::failed(self.queue_timed_out(most)));
            }
            let waits_for = match self.join((&request, &named), ticket, place.as_ref()) {
                Ok(queue_slot) => break queue_slot,
                Err(NoRoom { error, waits_for: None }) => return Err(error),
                Err(NoRoom { waits_for: Some(waits_for), .. }) => waits_for,
            };
            // Once any part was in the queue, the engine's thread alone decides whether the request has timed out:
            // it may be about to start that part.
            let undecided = queue_timeout.filter(|_| !ticket.is_let_in());
            if let Some(most) = undecided.and_then(|queue_timeout| queue_timeout.time_out(Instant::now())) {
                return Ok(TokenStream::failed(self.queue_timed_out(most)));
            }
            if Place::take(&mut place, &self.backlog, waits_for, ticket) {
                continue;
            }
            // It is woken when it is next, which may be long after its time is over.
            let end =
                [request.client.deadline, undecided.and_then(QueueTimeout::end)].into_iter().flatten().min();
            let is_late = || request.client.deadline.is_some_and(|deadline| deadline <= Instant::now());
            if !woken_in_time(woken, end).await && is_late() {
                return Ok(TokenStream::failed(Failure::Expired));
            }
        };
        drop((place, turn));
        self.send(request, named, queue_slot)
    }

    /// The failure of requests that waited in the queue for `most`.
    fn queue_timed_out(&self, most: Duration) -> Failure {
        Failure::QueueTimedOut { most, retry_after_s: self.backlog.retry_after_s(self.backlog.tokens()) }
    }

    /// Validates a request on its own and derives its keys.
    fn name(&self, request: &Request) -> Result<Named, EngineError> {
        let (tokens, reply) = (request.encoded.tokens.len(), request.max_reply_tokens());
        let decides = |part: &Part| {
            matches!(
                part,
                Part::Generate(1..)
                    | Part::GenerateBy { tokens: 1.., .. }
                    | Part::Choice { .. }
                    | Part::Reward
            )
        };
        if tokens == 0 || !request.script.iter().any(decides) {
            return Err(EngineError::Empty);
        }
        let limit = self.capacity();
        if tokens + reply > limit {
            let of_images = request.encoded.visual_tokens();
            return Err(EngineError::TooLong { tokens, limit, of_images, or_more: false });
        }
        let fingerprint = fingerprint(request);
        let runs_alone = match self.suspects.standing(&fingerprint, Instant::now()) {
            Standing::Clear => false,
            Standing::Suspect => true,
            Standing::Refused(left) => {
                return Err(EngineError::Quarantined { left_s: left.as_secs().max(1) });
            }
        };
        let root = root(&self.config.cache_secret, &request.client.tenant, &request.client.terms);
        let block_keys = block_keys(&request.encoded, self.limits.block_size, root);
        Ok(Named { root, block_keys, fingerprint, runs_alone })
    }

    /// Reserves a place in the queue; `place` is that among the waiters.
    fn join(
        &self,
        (request, named): (&Request, &Named),
        ticket: &Ticket,
        place: Option<&Place>,
    ) -> Result<QueueSlot, NoRoom> {
        let Request { client: Client { tenant, terms, urgency, .. }, encoded, .. } = request;
        let entry = QueueEntry {
            client: QueueClient { ticket, tenant, share: terms.queue_share, urgency: *urgency, place },
            lane: request.lane(),
            tokens: encoded.tokens.len(),
            keys: &named.block_keys,
            block_size: self.limits.block_size,
        };
        self.backlog.join(entry, &self.config)
    }

    /// Sends a request with its place to the engine's thread.
    fn send(
        &self,
        request: Request,
        named: Named,
        queue_slot: QueueSlot,
    ) -> Result<TokenStream, EngineError> {
        let Named { root, block_keys, fingerprint, runs_alone } = named;
        // One event per token and per piece, and two for the start and the end, so that the channel is never full.
        let events = request.max_reply_tokens() + request.script.len() + 2;
        let (subscriber, stream) =
            Subscriber::connected(events, request.client.deadline, request.client.queue_timeout.clone());
        let arrival = Arrival {
            id: SequenceId(self.next_id.fetch_add(1, Relaxed)),
            identity: identity(fingerprint, root),
            fingerprint,
            runs_alone,
            subscribers: Subscribers::new(subscriber),
            queue_slot: Some(queue_slot),
            arrived: Instant::now(),
            block_keys,
            request,
        };
        self.inbox.send(arrival).map_err(|_| EngineError::Stopped)?;
        Ok(stream)
    }

    /// Fails all waiting and running requests before the next step, and all later ones.
    pub fn give_up(&self) {
        self.given_up.store(true, Relaxed);
    }

    /// The maximum number of tokens of a prompt and its reply together.
    pub fn capacity(&self) -> usize {
        self.limits.context_length.min(self.limits.block_size * self.limits.block_count)
    }

    /// The limits of the model.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Waits until the engine's thread has ended. While a handle exists, this means that the model's code panicked.
    pub async fn stopped(&self) {
        self.inbox.closed().await;
    }

    /// Statistics at this moment.
    pub fn stats(&self) -> Stats {
        self.counters.stats(!self.inbox.is_closed(), self.limits.block_count, &self.backlog)
    }
}

/// Waits until a request is woken; returns false if `end` comes first.
async fn woken_in_time(woken: Notified<'_>, end: Option<Instant>) -> bool {
    match end {
        Some(end) => tokio::time::timeout_at(end.into(), woken).await.is_ok(),
        None => {
            woken.await;
            true
        }
    }
}

/// A digest of everything on which the answer depends, for one tenant and salt.
fn identity(fingerprint: Fingerprint, root: [u8; 32]) -> Identity {
    Sha256::new().chain_update(root).chain_update(fingerprint.0).finalize().into()
}

/// A digest of everything on which the answer depends, for all tenants.
fn fingerprint(request: &Request) -> Fingerprint {
    let Encoded { tokens, visuals } = &request.encoded;
    let mut digest = Sha256Hasher::default();
    tokens.hash(&mut digest);
    visuals.iter().for_each(|visual| (visual.start, visual.hash).hash(&mut digest));
    (&request.script, &request.end_tokens).hash(&mut digest);
    hash_sampling(&request.sampling, &mut digest);
    Fingerprint(digest.digest())
}

/// Adds the sampling parameters to a digest. Floats do not implement `Hash`, so that they are added as their bits.
fn hash_sampling(sampling: &SamplingParams, digest: &mut Sha256Hasher) {
    // Every field by name, so that this does not compile until a new one is added here.
    let SamplingParams {
        temperature,
        top_p,
        top_k,
        repetition_penalty,
        presence_penalty,
        frequency_penalty,
        logit_bias,
        min_p,
        min_tokens,
        drawn_below,
        seed,
        report,
    } = sampling;
    let numbers = [temperature, top_p, repetition_penalty, presence_penalty, frequency_penalty, min_p];
    numbers.map(|number| number.to_bits()).hash(digest);
    let biases: Vec<_> = logit_bias.iter().map(|(token, bias)| (token, bias.to_bits())).collect();
    // Without sampling, the seed has no effect.
    let seed = if *temperature > 0.0 { *seed } else { 0 };
    (top_k, biases, min_tokens, drawn_below, seed, report).hash(digest);
}
