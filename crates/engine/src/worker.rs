//! The thread behind the handles: receive, schedule, forward, commit.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use critic::{Backend, BackendError, Batch, Logits, Wants};
use tokio::sync::mpsc;

use crate::{
    arrival::Arrival,
    backlog::Backlog,
    config::{Config, OnPanic},
    error::Failure,
    observer::{Observer, StepReport},
    parallel,
    scheduler::{Outcome, Scheduler},
    sequence::Sequence,
    stats::Counters,
    stream::Event,
    suspects::{Fingerprint, Suspects},
};

/// What the engine's thread owns.
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
    /// What the observer was told last that runs.
    pub(crate) noted: BTreeSet<Fingerprint>,
}

impl Worker {
    /// Goes on until every handle is dropped and all work is done, or a step panics, most likely the model's code in it.
    pub(crate) fn run(mut self) {
        loop {
            // The whole round is timed and not the model alone: whatever in it does not end holds everybody up.
            self.counters.begin_step();
            while let Ok(arrival) = self.arrivals.try_recv() {
                self.scheduler.enqueue(Sequence::new(arrival));
            }
            if self.given_up.load(Relaxed) && !self.scheduler.is_idle() {
                self.fail_everything(&Failure::GivenUp);
            }
            let batch = self.scheduler.schedule(Instant::now());
            self.counters.set_state(&self.scheduler, self.backend.figures());
            self.tell_ended();
            self.note_running();
            let Some(batch) = batch else {
                // With nothing running every block can be had, and `submit` has refused what never fits.
                assert!(self.scheduler.is_idle() && self.scheduler.is_whole());
                self.counters.end_step();
                let Some(arrival) = self.arrivals.blocking_recv() else { return };
                self.counters.begin_step();
                self.scheduler.enqueue(Sequence::new(arrival));
                continue;
            };
            // After a panic nothing of the step is used, and nothing of the cache.
            let stepped = catch_unwind(AssertUnwindSafe(|| self.step(&batch)));
            self.counters.end_step();
            if stepped.is_err() && !self.survives_panic() {
                return;
            }
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
        // Counted before anybody hears of it, so that who has an answer finds its tokens in the figures.
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

    /// Runs a batch; when it fails, each of its chunks alone, so that only those fail that cannot run. A chunk that runs
    /// twice writes the same keys and values into the same places.
    fn forward(&mut self, batch: &Batch) -> Vec<Outcome> {
        let error = match self.backend.forward(batch) {
            Ok(rows) => return share_out(batch, rows),
            Err(error) => error,
        };
        tracing::error!(
            error = &error as &dyn std::error::Error,
            chunks = batch.chunks.len(),
            "a step failed"
        );
        if batch.chunks.len() == 1 {
            return vec![Err(Failure::Backend(Arc::new(error)))];
        }
        let mut outcomes = Vec::with_capacity(batch.chunks.len());
        for chunk in &batch.chunks {
            let alone = Batch { chunks: vec![chunk.clone()] };
            outcomes.extend(match self.backend.forward(&alone) {
                Ok(rows) => share_out(&alone, rows),
                Err(error) => vec![Err(Failure::Backend(Arc::new(error)))],
            });
        }
        outcomes
    }

    /// Tells what is about to be run before it is, so that somebody knows if it never ends.
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

    /// Fails everything that waits or runs; tells whether the engine goes on.
    fn survives_panic(&mut self) -> bool {
        let restarts = self.config.on_panic == OnPanic::Restart;
        self.suspects.died(&self.noted, Instant::now());
        tracing::error!(restarts, "the model's code panicked; all requests fail");
        self.fail_everything(&Failure::Panicked);
        if !restarts {
            self.arrivals.close();
            while let Ok(arrival) = self.arrivals.try_recv() {
                Sequence::new(arrival).audience.tell(Event::Failed(Failure::Panicked));
            }
        }
        restarts
    }

    /// Fails everything that waits or runs, and begins anew with an empty cache.
    fn fail_everything(&mut self, failure: &Failure) {
        self.scheduler.fail_all(failure, Instant::now());
        self.tell_ended();
        self.backlog.forget_all();
        let fresh = Scheduler::new(self.backend.limits(), self.config, self.backlog.clone());
        self.scheduler = fresh.counting_from(self.scheduler.prefix());
    }
}

/// Gives each chunk that wanted something its row. A row that is not finite fails its own chunk.
fn share_out(batch: &Batch, rows: Vec<Logits>) -> Vec<Outcome> {
    let numbers = rows.iter().map(Vec::len).sum();
    let mut rows = parallel::map(rows, numbers, |row| {
        // All are looked at: a loop that may end early looks at one at a time.
        let is_finite = row.iter().fold(true, |all, logit| all & logit.is_finite());
        if is_finite { Ok(Some(row)) } else { Err(Failure::Backend(Arc::new(BackendError::NonFinite))) }
    })
    .into_iter();
    let outcome = |wants: Wants| {
        if wants == Wants::Nothing {
            return Ok(None);
        }
        rows.next().expect("a backend returns one row for each chunk that wants one")
    };
    batch.chunks.iter().map(|chunk| chunk.wants).map(outcome).collect()
}
