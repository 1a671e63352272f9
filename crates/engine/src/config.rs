//! The configuration of an engine.

use std::time::Duration;

/// The reaction to a panic in the model's code. The current requests fail either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnPanic {
    /// The engine stops permanently, so that the process can be restarted.
    #[default]
    Stop,
    /// The engine continues with an empty cache.
    Restart,
}

/// The limits of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Maximum number of running sequences. More sequences share the fixed cost of a step, but each needs cache
    /// blocks.
    pub max_sequences: usize,
    /// Maximum number of them that may write text. The rest is reserved for verdicts read from logits, which take
    /// one step or a few and should not wait behind texts of hundreds of tokens.
    pub max_explaining: usize,
    /// Maximum number of prompt tokens in a step that also decodes: bounds how long the decoding sequences wait for
    /// their next token.
    pub max_prefill_tokens: usize,
    /// The intended duration of a step, unless so few tokens would leave the device underused: a request that
    /// arrives during a step waits for its end.
    pub step_time: Duration,
    /// Maximum number of requests that wait or are being prepared, beyond those for which a sequence is free, so
    /// that an idle engine lets in as many as this and [`max_sequences`](Self::max_sequences) together; any further
    /// one is rejected at once. Requests with one [`Ticket`](crate::Ticket) count as one. One part of a request may
    /// always be in the queue, and one be prepared. Further ones join the queue while fewer than half as many parts
    /// as this are in it, and are prepared while fewer than this are being prepared or in the queue.
    pub max_waiting: usize,
    /// Maximum number of tokens in waiting prompts, without those that are or will be in the prefix cache. One
    /// prompt of an accepted request may always wait. Its further prompts may fill half of this, so that requests
    /// of many prompts leave room for the first ones of others.
    pub max_waiting_tokens: usize,
    /// A request that has waited this long is admitted before all younger ones, whatever their tenants' shares.
    pub max_age: Duration,
    /// The reaction to a panic in the model's code.
    pub on_panic: OnPanic,
    /// A secret in the keys of cached blocks, so that a client that knows another tenant's prompt cannot find out
    /// by timing whether it is cached. Should be drawn at random at each start.
    pub cache_secret: [u8; 32],
}

impl Config {
    /// The default limits for up to `max_sequences` running sequences, a quarter of which is reserved for verdicts that
    /// are read from logits.
    pub fn with_max_sequences(max_sequences: usize) -> Self {
        Self {
            max_sequences,
            max_explaining: max_sequences - max_sequences / 4,
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

impl Default for Config {
    fn default() -> Self {
        Self::with_max_sequences(64)
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn three_quarters_of_the_sequences_may_write() {
        let pairs = [1, 2, 4, 5, 7, 64].map(|most| (most, Config::with_max_sequences(most).max_explaining));
        assert_eq!(pairs, [(1, 1), (2, 2), (4, 3), (5, 4), (7, 6), (64, 48)]);
    }
}
