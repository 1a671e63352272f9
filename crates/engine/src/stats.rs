//! Plain figures of an engine at work.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use critic::{BackendFigures, CacheFigures};

use crate::{backlog::Backlog, request::Lane, scheduler::Scheduler};

/// A snapshot; the fields are read one after another, so they may be one step apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Whether the engine's thread still takes requests.
    pub alive: bool,
    /// Requests for scores that wait to be admitted.
    pub waiting_scores: usize,
    /// Requests for text that wait to be admitted.
    pub waiting_texts: usize,
    /// Tokens of the prompts that wait, those left out that are known.
    pub waiting_tokens: usize,
    /// Sequences that are running.
    pub running: usize,
    /// Cache blocks that no running sequence holds; those kept for later requests among them.
    pub free_blocks: usize,
    /// Those of them that are kept for later requests.
    pub idle_blocks: usize,
    /// Cache blocks that hold the beginnings of prompts for later requests.
    pub cached_blocks: usize,
    /// Cache blocks in all.
    pub total_blocks: usize,
    /// Steps run since the start.
    pub steps: u64,
    /// Tokens run through the model since the start, prompts included.
    pub tokens: u64,
    /// Tokens run each second of work, lately; 0 before the first step.
    pub tokens_per_second: u64,
    /// For how long the step that runs now has been running, with all that is done before and after the model; 0 while there
    /// is nothing to do.
    pub step_running: Duration,
    /// Requests that failed since the model wrote no numbers.
    pub non_finite: u64,
    /// Those of the last minute, [`MANY_NON_FINITE`] at most.
    pub non_finite_lately: usize,
    /// How long the longest step took.
    pub longest_step: Duration,
    /// Requests refused since the line had too many.
    pub refused_requests: u64,
    /// Requests refused since the line had too many tokens.
    pub refused_tokens: u64,
    /// Blocks of prompts that were looked for at admissions.
    pub prefix: CacheFigures,
    /// Features of images.
    pub features: CacheFigures,
}

/// After so many failures of that kind in a minute the model or what it runs on is to be doubted, and no longer a request.
pub const MANY_NON_FINITE: usize = 3;

/// How long such a failure is remembered.
const LATELY: Duration = Duration::from_secs(60);

impl Stats {
    /// Requests that wait to be admitted.
    pub fn waiting(&self) -> usize {
        self.waiting_scores + self.waiting_texts
    }
}

/// The counters that the engine's thread writes and handles read. Relaxed: each figure stands alone.
#[derive(Debug)]
pub(crate) struct Counters {
    /// From when on times are counted.
    start: Instant,
    /// When the step that runs began, in microseconds after `start`, and at least 1; 0 between steps.
    step_began: AtomicU64,
    /// Microseconds of the longest step.
    longest_step: AtomicU64,
    non_finite: AtomicU64,
    /// When the last ones were, in microseconds after `start` and at least 1; 0 where there was none.
    non_finite_at: [AtomicU64; MANY_NON_FINITE],
    running: AtomicUsize,
    free_blocks: AtomicUsize,
    idle_blocks: AtomicUsize,
    cached_blocks: AtomicUsize,
    steps: AtomicU64,
    tokens: AtomicU64,
    prefix: CacheCounters,
    features: CacheCounters,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            step_began: AtomicU64::default(),
            longest_step: AtomicU64::default(),
            non_finite: AtomicU64::default(),
            non_finite_at: Default::default(),
            running: AtomicUsize::default(),
            free_blocks: AtomicUsize::default(),
            idle_blocks: AtomicUsize::default(),
            cached_blocks: AtomicUsize::default(),
            steps: AtomicU64::default(),
            tokens: AtomicU64::default(),
            prefix: CacheCounters::default(),
            features: CacheCounters::default(),
        }
    }
}

impl Counters {
    /// Notes that a step begins.
    pub(crate) fn begin_step(&self) {
        self.step_began.store(self.now().max(1), Relaxed);
    }

    /// Notes that the step has ended, well or not.
    pub(crate) fn end_step(&self) {
        let began = self.step_began.swap(0, Relaxed);
        self.longest_step.fetch_max(self.now().saturating_sub(began), Relaxed);
    }

    /// Notes a request that failed since the model wrote no numbers.
    pub(crate) fn note_non_finite(&self) {
        let earlier = self.non_finite.fetch_add(1, Relaxed) as usize;
        self.non_finite_at[earlier % MANY_NON_FINITE].store(self.now().max(1), Relaxed);
    }

    fn non_finite_lately(&self) -> usize {
        let since = self.now().saturating_sub(LATELY.as_micros() as u64);
        self.non_finite_at.iter().filter(|at| at.load(Relaxed) > since).count()
    }

    /// Microseconds since the start; those of 64 bits last for half a million years.
    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Notes the state between two steps.
    pub(crate) fn set_state(&self, scheduler: &Scheduler, backend: BackendFigures) {
        self.running.store(scheduler.running_count(), Relaxed);
        self.free_blocks.store(scheduler.free_blocks(), Relaxed);
        self.idle_blocks.store(scheduler.idle_blocks(), Relaxed);
        self.cached_blocks.store(scheduler.cached_blocks(), Relaxed);
        let bytes = scheduler.cached_blocks() as u64 * backend.block_bytes;
        self.prefix.set(CacheFigures { bytes, ..scheduler.prefix() });
        self.features.set(backend.features);
    }

    /// Sequences that are running.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    /// Notes a step of `tokens` tokens.
    pub(crate) fn add_step(&self, tokens: usize) {
        self.steps.fetch_add(1, Relaxed);
        self.tokens.fetch_add(tokens as u64, Relaxed);
    }

    /// Everything at this moment.
    pub(crate) fn stats(&self, alive: bool, total_blocks: usize, backlog: &Backlog) -> Stats {
        let (refused_requests, refused_tokens) = backlog.refused();
        Stats {
            alive,
            waiting_scores: backlog.lane_requests(Lane::Score),
            waiting_texts: backlog.lane_requests(Lane::Explain),
            waiting_tokens: backlog.tokens(),
            running: self.running.load(Relaxed),
            free_blocks: self.free_blocks.load(Relaxed),
            idle_blocks: self.idle_blocks.load(Relaxed),
            cached_blocks: self.cached_blocks.load(Relaxed),
            total_blocks,
            steps: self.steps.load(Relaxed),
            tokens: self.tokens.load(Relaxed),
            tokens_per_second: backlog.rate(),
            step_running: Duration::from_micros(match self.step_began.load(Relaxed) {
                0 => 0,
                began => self.now().saturating_sub(began),
            }),
            non_finite: self.non_finite.load(Relaxed),
            non_finite_lately: self.non_finite_lately(),
            longest_step: Duration::from_micros(self.longest_step.load(Relaxed)),
            refused_requests,
            refused_tokens,
            prefix: self.prefix.get(),
            features: self.features.get(),
        }
    }
}

/// [`CacheFigures`] that are written by one thread and read by others.
#[derive(Debug, Default)]
struct CacheCounters {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    bytes: AtomicU64,
}

impl CacheCounters {
    fn set(&self, figures: CacheFigures) {
        let CacheFigures { hits, misses, evictions, bytes } = figures;
        self.hits.store(hits, Relaxed);
        self.misses.store(misses, Relaxed);
        self.evictions.store(evictions, Relaxed);
        self.bytes.store(bytes, Relaxed);
    }

    fn get(&self) -> CacheFigures {
        CacheFigures {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }
}
