//! Plain figures of an engine at work.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::scheduler::Scheduler;

/// A snapshot; the fields are read one after another, so they may be one step apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Whether the engine's thread still takes requests.
    pub alive: bool,
    /// Requests that wait to be admitted.
    pub waiting: usize,
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
}

/// The counters that the engine's thread writes and handles read. Relaxed: each figure stands alone.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Written by handles, which count up, and by the thread, which counts down.
    pub(crate) waiting: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) free_blocks: AtomicUsize,
    pub(crate) cached_blocks: AtomicUsize,
    pub(crate) steps: AtomicU64,
    pub(crate) tokens: AtomicU64,
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
}
