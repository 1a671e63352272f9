//! Statistics of a running engine.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use critic::{BackendFigures, CacheFigures};

use crate::{queue::backlog::Backlog, request::Lane, scheduler::Scheduler};

/// A snapshot. The fields are read one after another, so that they may differ by one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Whether the engine's thread still accepts requests.
    pub alive: bool,
    /// Number of waiting sequences for scores; a request may consist of several.
    pub waiting_scores: usize,
    /// Number of waiting sequences for text.
    pub waiting_texts: usize,
    /// Number of tokens in waiting prompts, without those that are or will be in the prefix cache.
    pub waiting_tokens: usize,
    /// Number of running sequences.
    pub running: usize,
    /// Number of cache blocks not held by a running sequence, including those cached for later requests.
    pub free_blocks: usize,
    /// The number of these that are cached for later requests.
    pub idle_blocks: usize,
    /// Number of cache blocks that hold prompt prefixes for later requests.
    pub cached_blocks: usize,
    /// Total number of cache blocks.
    pub total_blocks: usize,
    /// Number of steps since the start.
    pub steps: u64,
    /// Number of tokens run through the model since the start, including prompts.
    pub tokens: u64,
    /// Recent throughput in tokens per second of work; 0 before the first step.
    pub tokens_per_second: u64,
    /// How long the current step has been running, including the work before and after the model; 0 when there is
    /// no work.
    pub step_running: Duration,
    /// Number of requests that failed because the model computed non-finite numbers.
    pub non_finite: u64,
    /// The number of these in the last minute, at most [`MANY_NON_FINITE`].
    pub recent_non_finite: usize,
    /// Duration of the longest step.
    pub longest_step: Duration,
    /// Number of requests rejected because the queue had too many requests; each is counted once.
    pub refused_requests: u64,
    /// Number of requests rejected because the queue had too many tokens.
    pub refused_tokens: u64,
    /// Look-ups of prompt blocks at admission.
    pub prefix: CacheFigures,
    /// The cache of image features.
    pub features: CacheFigures,
}

/// This many non-finite failures within a minute indicate a fault of the model or its device rather than of a
/// request.
pub const MANY_NON_FINITE: usize = 3;

/// How long a non-finite failure counts as recent.
const RECENT_WINDOW: Duration = Duration::from_secs(60);

impl Stats {
    /// Number of waiting sequences.
    pub fn waiting(&self) -> usize {
        self.waiting_scores + self.waiting_texts
    }
}

/// The counters that the engine's thread writes and handles read. Relaxed ordering is enough, since each figure is
/// independent.
#[derive(Debug)]
pub(crate) struct Counters {
    /// The origin of all times.
    start: Instant,
    /// Start of the current step, in microseconds after `start`, and at least 1; 0 between steps.
    step_began: AtomicU64,
    /// Duration of the longest step in microseconds.
    longest_step: AtomicU64,
    non_finite: AtomicU64,
    /// Times of the latest non-finite failures, in microseconds after `start`, and at least 1; 0 for none.
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
    /// Records the start of a step.
    pub(crate) fn begin_step(&self) {
        self.step_began.store(self.now().max(1), Relaxed);
    }

    /// Records the end of a step, whether or not it succeeded.
    pub(crate) fn end_step(&self) {
        let began = self.step_began.swap(0, Relaxed);
        self.longest_step.fetch_max(self.now().saturating_sub(began), Relaxed);
    }

    /// Records a request that failed because of non-finite numbers.
    pub(crate) fn note_non_finite(&self) {
        let earlier = self.non_finite.fetch_add(1, Relaxed) as usize;
        self.non_finite_at[earlier % MANY_NON_FINITE].store(self.now().max(1), Relaxed);
    }

    fn recent_non_finite(&self) -> usize {
        let since = self.now().saturating_sub(RECENT_WINDOW.as_micros() as u64);
        self.non_finite_at.iter().filter(|at| at.load(Relaxed) > since).count()
    }

    /// Microseconds since the start; 64 bits last for half a million years.
    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Records the state between two steps.
    pub(crate) fn set_state(&self, scheduler: &Scheduler, backend: BackendFigures) {
        self.running.store(scheduler.running_count(), Relaxed);
        self.free_blocks.store(scheduler.free_blocks(), Relaxed);
        self.idle_blocks.store(scheduler.idle_blocks(), Relaxed);
        self.cached_blocks.store(scheduler.cached_blocks(), Relaxed);
        let bytes = scheduler.cached_blocks() as u64 * backend.block_bytes;
        self.prefix.set(CacheFigures { bytes, ..scheduler.prefix() });
        self.features.set(backend.features);
    }

    /// The number of running sequences.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    /// Records a step of `tokens` tokens.
    pub(crate) fn add_step(&self, tokens: usize) {
        self.steps.fetch_add(1, Relaxed);
        self.tokens.fetch_add(tokens as u64, Relaxed);
    }

    /// A snapshot of all figures.
    pub(crate) fn stats(&self, alive: bool, total_blocks: usize, backlog: &Backlog) -> Stats {
        let (refused_requests, refused_tokens) = backlog.refused();
        Stats {
            alive,
            waiting_scores: backlog.lane_parts(Lane::Score),
            waiting_texts: backlog.lane_parts(Lane::Explain),
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
            recent_non_finite: self.recent_non_finite(),
            longest_step: Duration::from_micros(self.longest_step.load(Relaxed)),
            refused_requests,
            refused_tokens,
            prefix: self.prefix.get(),
            features: self.features.get(),
        }
    }
}

/// [`CacheFigures`] that one thread writes and others read.
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
