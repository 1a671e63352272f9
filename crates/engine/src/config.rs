//! What the operator of an engine chooses.

/// Bounds of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The most sequences that run in one step. More sequences share a step's fixed cost; each needs cache blocks.
    pub max_sequences: usize,
    /// The most requests that may wait to be admitted; one more is refused at once.
    pub max_waiting: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_sequences: 64, max_waiting: 512 }
    }
}
