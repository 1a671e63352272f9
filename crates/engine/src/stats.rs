//! Plain figures of an engine at work.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A snapshot; the fields are read one after another, so they may be one step apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Whether the engine's thread still takes requests.
    pub alive: bool,
    /// Requests that wait to be admitted.
    pub waiting: usize,
    /// Sequences that are running.
    pub running: usize,
    /// Cache blocks that nobody holds.
    pub free_blocks: usize,
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
    pub(crate) running: AtomicUsize,
    pub(crate) free_blocks: AtomicUsize,
    pub(crate) steps: AtomicU64,
    pub(crate) tokens: AtomicU64,
}

impl Counters {
    /// Notes the state between two steps.
    pub(crate) fn set_state(&self, running: usize, free_blocks: usize) {
        self.running.store(running, Relaxed);
        self.free_blocks.store(free_blocks, Relaxed);
    }

    /// Notes a step of `tokens` tokens.
    pub(crate) fn add_step(&self, tokens: usize) {
        self.steps.fetch_add(1, Relaxed);
        self.tokens.fetch_add(tokens as u64, Relaxed);
    }
}
