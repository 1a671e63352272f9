//! A loaded model on one device.

use crate::{BackendFigures, Batch};

/// Fixed sizes that a scheduler plans with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Positions in one cache block.
    pub block_size: usize,
    /// Blocks in the cache.
    pub block_count: usize,
    /// The most positions that a sequence may have, prompt and output together.
    pub context_length: usize,
    /// The most tokens that one step may run.
    pub max_step_tokens: usize,
    /// As many tokens as a step needs to run about as many each second as a full one; at most `max_step_tokens`. Where the numbers
    /// of a token depend on what else is in its step it is `max_step_tokens`, so that a prompt that is alone is always cut alike.
    pub efficient_step_tokens: usize,
}

/// Unnormalised scores of every token of the vocabulary for the next position, in f32 whatever the model computes in.
pub type Logits = Vec<f32>;

/// Why a step failed. The batch is lost; the model is still usable.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The tensor library or the device failed.
    #[error("the model failed on a step")]
    Compute(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The model wrote numbers that are not finite.
    #[error("the model wrote logits that are not finite")]
    NonFinite,
}

/// A model that runs steps. Owned by one thread; nothing else calls it.
pub trait Backend: Send {
    /// The sizes to plan with.
    fn limits(&self) -> Limits;

    /// Runs one step: writes the keys and values of every chunk into its blocks and returns a row for each chunk that
    /// [`wants`](crate::Chunk::wants) one of its last token, in the order of the batch: its logits, or the one number of the
    /// reward head.
    ///
    /// # Errors
    /// [`BackendError`] when the step could not be computed.
    fn forward(&mut self, batch: &Batch) -> Result<Vec<Logits>, BackendError>;

    /// What it did since its start; asked for after every step.
    fn figures(&self) -> BackendFigures {
        BackendFigures::default()
    }
}
