//! The handle that callers hold, and the thread behind it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use critic::{Backend, Encoded, Limits, SamplingParams, SequenceId, TokenId};
use tokio::sync::mpsc;

use crate::{
    config::Config,
    error::{EngineError, Failure},
    scheduler::Scheduler,
    sequence::Sequence,
    stats::{Counters, Stats},
    stream::TokenStream,
};

/// One text to write.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt.
    pub encoded: Encoded,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// The most tokens to write; at least 1.
    pub max_new_tokens: usize,
    /// Any of these ends the text and is not part of it; may be empty.
    pub end_tokens: Vec<TokenId>,
    /// The text begins with one of these; empty when it may begin with anything. None may be the beginning of another.
    pub beginnings: Vec<Vec<TokenId>>,
}

/// A running engine. Clones are handles to the same one; when the last is dropped and all work is done, its thread ends.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The way into the waiting line. The line itself is the scheduler's, which looks past its head; its bound is kept by
    /// counting in [`submit`](Self::submit), so the channel needs none.
    inbox: mpsc::UnboundedSender<Sequence>,
    max_waiting: usize,
    limits: Limits,
    counters: Arc<Counters>,
    next_id: Arc<AtomicU64>,
}

impl Engine {
    /// Starts the thread that owns `backend`.
    pub fn start(backend: Box<dyn Backend>, config: Config) -> Self {
        let limits = backend.limits();
        let (inbox, arrivals) = mpsc::unbounded_channel();
        let counters = Arc::new(Counters::default());
        let scheduler = Scheduler::new(limits, config);
        counters.set_state(&scheduler);
        let worker = Worker { backend, scheduler, arrivals, counters: counters.clone() };
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || worker.run())
            .expect("a process can start one more thread");
        Self { inbox, max_waiting: config.max_waiting.max(1), limits, counters, next_id: Arc::default() }
    }

    /// Puts a request into the waiting line; never waits itself.
    ///
    /// # Errors
    /// [`EngineError`] when the line is full, the request can never fit, it is empty, or the thread has ended.
    pub fn submit(&self, request: Request) -> Result<TokenStream, EngineError> {
        let tokens = request.encoded.tokens.len();
        if tokens == 0 || request.max_new_tokens == 0 {
            return Err(EngineError::Empty);
        }
        let limit = self.capacity();
        if tokens + request.max_new_tokens > limit {
            return Err(EngineError::TooLong { tokens, limit });
        }
        let in_line = |waiting| (waiting < self.max_waiting).then_some(waiting + 1);
        if self.counters.waiting.fetch_update(Relaxed, Relaxed, in_line).is_err() {
            return Err(EngineError::Overloaded { waiting: self.max_waiting, retry_after_s: 1 });
        }
        // Every token, the beginning and the end: sending can never find the channel full.
        let (events, receiver) = mpsc::channel(request.max_new_tokens + 2);
        let id = SequenceId(self.next_id.fetch_add(1, Relaxed));
        let sequence = Sequence::new(id, request, self.limits.block_size, events);
        self.inbox.send(sequence).map_err(|_| EngineError::Stopped)?;
        Ok(TokenStream::new(receiver))
    }

    /// The most tokens that a prompt and its output may have together.
    pub fn capacity(&self) -> usize {
        self.limits.context_length.min(self.limits.block_size * self.limits.block_count)
    }

    /// The sizes of the model.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Figures of this moment.
    pub fn stats(&self) -> Stats {
        Stats {
            alive: !self.inbox.is_closed(),
            waiting: self.counters.waiting.load(Relaxed),
            running: self.counters.running.load(Relaxed),
            free_blocks: self.counters.free_blocks.load(Relaxed),
            cached_blocks: self.counters.cached_blocks.load(Relaxed),
            total_blocks: self.limits.block_count,
            steps: self.counters.steps.load(Relaxed),
            tokens: self.counters.tokens.load(Relaxed),
        }
    }
}

/// What the engine's thread owns.
struct Worker {
    backend: Box<dyn Backend>,
    scheduler: Scheduler,
    arrivals: mpsc::UnboundedReceiver<Sequence>,
    counters: Arc<Counters>,
}

impl Worker {
    /// Receive, schedule, forward, commit, until every handle is dropped and all work is done.
    fn run(mut self) {
        loop {
            while let Ok(sequence) = self.arrivals.try_recv() {
                self.scheduler.enqueue(sequence);
            }
            let waiting = self.scheduler.waiting_count();
            let batch = self.scheduler.schedule();
            self.counters.set_state(&self.scheduler);
            self.counters.waiting.fetch_sub(waiting - self.scheduler.waiting_count(), Relaxed);
            let Some(batch) = batch else {
                // With nothing running every block can be had, and `submit` has refused what never fits.
                debug_assert!(self.scheduler.waiting_count() == 0 && self.scheduler.is_whole());
                let Some(sequence) = self.arrivals.blocking_recv() else { return };
                self.scheduler.enqueue(sequence);
                continue;
            };
            match self.backend.forward(&batch) {
                Ok(logits) => self.scheduler.commit(&batch, logits),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a step failed");
                    self.scheduler.fail(&Failure(Arc::new(error)));
                }
            }
            self.counters.add_step(batch.token_count());
        }
    }
}
