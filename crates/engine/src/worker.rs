//! The engine's thread: receive, schedule, forward, commit.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use critic::{Backend, BackendError, Batch, StepOutput, Wants};
use tokio::sync::mpsc;

use crate::{
    arrival::Arrival,
    config::{Config, OnPanic},
    error::Failure,
    observer::{Observer, StepReport},
    parallel,
    queue::backlog::Backlog,
    scheduler::{Outcome, Scheduler},
    sequence::Sequence,
    stats::Counters,
    stream::Event,
    suspects::{Fingerprint, Suspects},
};

/// The state of the engine's thread.
pub(crate) struct Worker {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) config: Config,
    pub(crate) scheduler: Scheduler,
    pub(crate) arrivals: mpsc::UnboundedReceiver<Arrival>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) given_up: Arc<AtomicBool>,
    pub(crate) suspects: Arc<Suspects>,
    /// The set of requests last reported to the observer.
    pub(crate) noted: BTreeSet<Fingerprint>,
}

impl Worker {
    /// Runs until all handles are dropped and all work is done, or until a step panics (most likely in the model's
    /// code) and the engine does not restart.
    pub(crate) fn run(mut self) {
        loop {
            // The whole iteration is timed, not only the model: any part of it that hangs blocks all requests.
            self.counters.begin_step();
            while let Ok(arrival) = self.arrivals.try_recv() {
                self.scheduler.enqueue(Sequence::new(arrival));
            }
            if self.given_up.load(Relaxed) && !self.scheduler.is_idle() {
                self.fail_everything(&Failure::GivenUp);
            }
            let batch = self.scheduler.schedule(Instant::now());
            self.publish_state();
            self.tell_ended();
            self.note_running();
            let Some(batch) = batch else {
                // With nothing running, all blocks are available, and `submit` has rejected requests that can never
                // fit.
                assert!(self.scheduler.is_idle() && self.scheduler.is_whole());
                self.counters.end_step();
                let Some(arrival) = self.arrivals.blocking_recv() else { return };
                self.counters.begin_step();
                self.scheduler.enqueue(Sequence::new(arrival));
                continue;
            };
            // After a panic neither the results of the step nor the cache are used.
            let stepped = catch_unwind(AssertUnwindSafe(|| self.step(&batch)));
            self.counters.end_step();
            if stepped.is_err() && !self.survives_panic() {
                return;
            }
        }
    }

    /// Updates the statistics, by which requests are let in that will run at once.
    fn publish_state(&self) {
        let before = self.counters.running();
        self.counters.set_state(&self.scheduler, self.backend.figures());
        self.backlog.set_running_tokens(self.scheduler.tokens_left());
        if self.counters.running() < before {
            self.backlog.call();
        }
    }

    fn step(&mut self, batch: &Batch) {
        let images_before = self.backend.figures().vision;
        let start = Instant::now();
        let outcomes = self.forward(batch);
        let end = Instant::now();
        let duration = end.duration_since(start);
        let (prompt_sequences, prompt_tokens) = self.scheduler.prompts(batch);
        let tokens = batch.token_count();
        // Counted before clients receive events, so that a client with an answer finds its tokens in the
        // statistics.
        self.counters.add_step(tokens);
        let failures = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        failures.filter(|failure| failure.is_non_finite()).for_each(|_| self.counters.note_non_finite());
        self.scheduler.commit(batch, outcomes, end);
        self.backlog.note_step(tokens, duration.as_secs_f64());
        let vision = self.backend.figures().vision.saturating_sub(images_before);
        self.scheduler.note_step(tokens, duration.saturating_sub(vision));
        self.observer.step(&StepReport {
            sequences: batch.chunks.len(),
            prompt_sequences,
            prompt_tokens,
            reply_tokens: tokens - prompt_tokens,
            duration,
            vision,
        });
        self.scheduler.take_gaps().into_iter().for_each(|gap| self.observer.wrote(gap));
    }

    /// Runs a batch. If it fails, each chunk is run alone, so that only those fail that cannot run; so is a chunk
    /// whose output is not finite. A chunk that runs twice writes the same keys and values to the same slots.
    fn forward(&mut self, batch: &Batch) -> Vec<Outcome> {
        let mut outcomes = self.attempt(batch);
        let Some(Err(failure)) = outcomes.iter().find(|outcome| outcome.is_err()) else { return outcomes };
        tracing::error!(
            error = failure as &dyn std::error::Error,
            chunks = batch.chunks.len(),
            failed = outcomes.iter().filter(|outcome| outcome.is_err()).count(),
            "a step failed"
        );
        if batch.chunks.len() == 1 {
            return outcomes;
        }
        for (chunk, outcome) in batch.chunks.iter().zip(&mut outcomes) {
            if outcome.is_err() {
                let alone = Batch { chunks: vec![chunk.clone()] };
                *outcome = self.attempt(&alone).pop().expect("a chunk has an outcome");
            }
        }
        outcomes
    }

    /// Runs a batch once. This is where outputs are checked: the backend need not, since it does not know whose they
    /// are, and nothing after this sees a number that is not finite.
    fn attempt(&mut self, batch: &Batch) -> Vec<Outcome> {
        match self.backend.forward(batch) {
            Ok(outputs) => {
                let outcomes = share_out(batch, outputs);
                if outcomes.iter().any(Result::is_err) {
                    self.backend.forget_features();
                }
                outcomes
            }
            Err(error) => {
                let failure = Failure::Backend(Arc::new(error));
                batch.chunks.iter().map(|_| Err(failure.clone())).collect()
            }
        }
    }

    /// Reports the next requests before they run, so that they are known if the step never ends.
    fn note_running(&mut self) {
        let running = self.scheduler.fingerprints();
        if running != self.noted {
            self.observer.about_to_run(&running);
            self.noted = running;
        }
    }

    fn tell_ended(&mut self) {
        self.scheduler.take_acquitted().iter().for_each(|fingerprint| self.suspects.acquit(fingerprint));
        self.scheduler.take_ended().iter().for_each(|report| self.observer.ended(report));
    }

    /// Fails all waiting and running requests; returns whether the engine continues.
    fn survives_panic(&mut self) -> bool {
        let restarts = self.config.on_panic == OnPanic::Restart;
        self.suspects.died(&self.noted, Instant::now());
        tracing::error!(restarts, "the model's code panicked; all requests fail");
        self.fail_everything(&Failure::Panicked);
        if !restarts {
            self.arrivals.close();
            while let Ok(arrival) = self.arrivals.try_recv() {
                Sequence::new(arrival).subscribers.tell(Event::Failed(Failure::Panicked));
            }
        }
        restarts
    }

    /// Fails all waiting and running requests, and starts again with an empty cache.
    fn fail_everything(&mut self, failure: &Failure) {
        self.scheduler.fail_all(failure, Instant::now());
        self.tell_ended();
        self.backlog.forget_all();
        let fresh = Scheduler::new(self.backend.limits(), self.config, self.backlog.clone());
        self.scheduler = fresh.counting_from(self.scheduler.prefix());
        // An engine that stops does not get to its next step, which would do this.
        self.publish_state();
    }
}

/// Assigns each output to the chunk that wanted it. An output that is not finite fails its own chunk.
fn share_out(batch: &Batch, outputs: Vec<StepOutput>) -> Vec<Outcome> {
    let numbers = outputs.iter().map(|output| output.numbers().len()).sum();
    let mut outputs = parallel::map(outputs, numbers, |output| match output.is_finite() {
        true => Ok(Some(output)),
        false => Err(Failure::Backend(Arc::new(BackendError::NonFinite))),
    })
    .into_iter();
    let outcome = |wants: Wants| {
        if wants == Wants::Nothing {
            return Ok(None);
        }
        outputs.next().expect("a backend returns one output for each chunk that wants one")
    };
    batch.chunks.iter().map(|chunk| chunk.wants).map(outcome).collect()
}
