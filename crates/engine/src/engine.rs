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
}

/// A running engine. Clones are handles to the same one; when the last is dropped and all work is done, its thread ends.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The waiting line: bounded by [`Config::max_waiting`], so that a full one is seen at once by `try_send`.
    inbox: mpsc::Sender<Sequence>,
    max_waiting: usize,
    limits: Limits,
    counters: Arc<Counters>,
    next_id: Arc<AtomicU64>,
}

impl Engine {
    /// Starts the thread that owns `backend`.
    pub fn start(backend: Box<dyn Backend>, config: Config) -> Self {
        let limits = backend.limits();
        let (inbox, arrivals) = mpsc::channel(config.max_waiting.max(1));
        let counters = Arc::new(Counters::default());
        counters.set_state(0, limits.block_count);
        let worker = Worker {
            backend,
            scheduler: Scheduler::new(limits, config),
            arrivals,
            head: None,
            counters: counters.clone(),
        };
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
        // Every token and the event that ends the sequence: sending can never find the channel full.
        let (events, receiver) = mpsc::channel(request.max_new_tokens + 1);
        let id = SequenceId(self.next_id.fetch_add(1, Relaxed));
        self.inbox.try_send(Sequence::new(id, request, events)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                EngineError::Overloaded { waiting: self.max_waiting, retry_after_s: 1 }
            }
            mpsc::error::TrySendError::Closed(_) => EngineError::Stopped,
        })?;
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
            waiting: self.max_waiting - self.inbox.capacity(),
            running: self.counters.running.load(Relaxed),
            free_blocks: self.counters.free_blocks.load(Relaxed),
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
    arrivals: mpsc::Receiver<Sequence>,
    /// The next sequence in line, when its blocks were not free at the last try.
    head: Option<Box<Sequence>>,
    counters: Arc<Counters>,
}

impl Worker {
    /// Admit, schedule, forward, commit, until every handle is dropped and all work is done.
    fn run(mut self) {
        loop {
            self.admit();
            let batch = self.scheduler.schedule();
            self.counters.set_state(self.scheduler.running_count(), self.scheduler.free_blocks());
            let Some(batch) = batch else {
                debug_assert!(self.scheduler.is_whole());
                if self.head.is_none() {
                    let Some(sequence) = self.arrivals.blocking_recv() else { return };
                    self.head = Some(Box::new(sequence));
                }
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

    /// Takes sequences from the line, in order, while they fit. With nothing running all blocks are free and
    /// `submit` has refused what never fits, so the line always moves.
    fn admit(&mut self) {
        while self.scheduler.has_room() {
            let next = self.head.take().or_else(|| self.arrivals.try_recv().ok().map(Box::new));
            let Some(sequence) = next else { return };
            if sequence.is_cancelled() {
                continue;
            }
            if let Err(sequence) = self.scheduler.admit(*sequence) {
                self.head = Some(sequence);
                return;
            }
        }
    }
}
