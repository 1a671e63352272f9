//! What the operator of an engine chooses.

use std::time::Duration;

/// What happens when the model's code panics. The requests that are there fail either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnPanic {
    /// The engine stops for good, so that the process can be replaced.
    #[default]
    Stop,
    /// The engine goes on with an empty cache.
    Restart,
}

/// Bounds of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The most sequences that run in one step. More sequences share a step's fixed cost; each needs cache blocks.
    pub max_sequences: usize,
    /// How many of these may write text. The rest is kept for verdicts that are read from logits: they stay for one step or
    /// a few, and are not to wait behind texts of hundreds of tokens.
    pub max_explaining: usize,
    /// The most tokens of prompts in a step in which others write: bounds how long these wait for their next token.
    pub max_prefill_tokens: usize,
    /// How long a step should last, as far as the device is kept busy by so few tokens: whoever comes amid one waits for its end.
    pub step_time: Duration,
    /// The most requests that may wait to be admitted; one more is refused at once.
    pub max_waiting: usize,
    /// The most tokens of waiting prompts, those left out that are known from earlier requests.
    pub max_waiting_tokens: usize,
    /// A request that has waited this long is admitted before all younger ones, whatever their tenants' shares.
    pub max_age: Duration,
    /// What happens when the model's code panics.
    pub on_panic: OnPanic,
    /// Mixed into the names of kept blocks, so that a client that knows another's prompt cannot find out from the time of
    /// an answer that it is kept. Best drawn anew at each start.
    pub cache_secret: [u8; 32],
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_sequences: 64,
            max_explaining: 48,
            max_prefill_tokens: 256,
            step_time: Duration::from_millis(5),
            max_waiting: 512,
            max_waiting_tokens: 1 << 20,
            max_age: Duration::from_secs(10),
            on_panic: OnPanic::Stop,
            cache_secret: [0; 32],
        }
    }
}
