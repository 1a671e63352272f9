//! Plain figures of an engine at work.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

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
}

impl Stats {
    /// Requests that wait to be admitted.
    pub fn waiting(&self) -> usize {
        self.waiting_scores + self.waiting_texts
    }
}

/// The counters that the engine's thread writes and handles read. Relaxed: each figure stands alone.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    running: AtomicUsize,
    free_blocks: AtomicUsize,
    cached_blocks: AtomicUsize,
    steps: AtomicU64,
    tokens: AtomicU64,
}

impl Counters {
    /// Notes the state between two steps.
    pub(crate) fn set_state(&self, scheduler: &Scheduler) {
        self.running.store(scheduler.running_count(), Relaxed);
        self.free_blocks.store(scheduler.free_blocks(), Relaxed);
        self.cached_blocks.store(scheduler.cached_blocks(), Relaxed);
    }

    /// Notes a step of `tokens` tokens.
    pub(crate) fn add_step(&self, tokens: usize) {
        self.steps.fetch_add(1, Relaxed);
        self.tokens.fetch_add(tokens as u64, Relaxed);
    }

    /// Everything at this moment.
    pub(crate) fn stats(&self, alive: bool, total_blocks: usize, backlog: &Backlog) -> Stats {
        Stats {
            alive,
            waiting_scores: backlog.lane_requests(Lane::Score),
            waiting_texts: backlog.lane_requests(Lane::Explain),
            waiting_tokens: backlog.tokens(),
            running: self.running.load(Relaxed),
            free_blocks: self.free_blocks.load(Relaxed),
            cached_blocks: self.cached_blocks.load(Relaxed),
            total_blocks,
            steps: self.steps.load(Relaxed),
            tokens: self.tokens.load(Relaxed),
            tokens_per_second: backlog.rate(),
        }
    }
}
