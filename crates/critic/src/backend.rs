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
    /// The fewest tokens per step at which throughput is about that of a full step; at most `max_step_tokens`. Equals
    /// `max_step_tokens` where a token's numbers depend on the rest of its step, so that a prompt that runs alone is
    /// always cut into the same chunks.
    pub efficient_step_tokens: usize,
}

/// Unnormalised scores of every token of the vocabulary for the next position, in f32 whatever the model's precision.
pub type Logits = Vec<f32>;

/// What a step returns for the last token of a chunk that wants something.
#[derive(Debug, Clone, PartialEq)]
pub enum StepOutput {
    /// Its logits, for [`Wants::Logits`](crate::Wants::Logits).
    Logits(Logits),
    /// The number of the reward head, for [`Wants::Reward`](crate::Wants::Reward).
    Reward(f32),
}

impl StepOutput {
    /// All logits, or the one reward.
    pub fn numbers(&self) -> &[f32] {
        match self {
            Self::Logits(logits) => logits,
            Self::Reward(reward) => std::slice::from_ref(reward),
        }
    }

    /// Whether all numbers are finite.
    pub fn is_finite(&self) -> bool {
        // No early exit: a loop that may end early is not vectorised.
        self.numbers().iter().fold(true, |all, number| all & number.is_finite())
    }

    /// The logits; `None` for a reward.
    pub fn into_logits(self) -> Option<Logits> {
        match self {
            Self::Logits(logits) => Some(logits),
            Self::Reward(_) => None,
        }
    }
}

/// Why a step failed. The batch is lost; the model is still usable.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The tensor library or the device failed.
    #[error("the model failed on a step")]
    Compute(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The model computed logits or rewards that are not finite.
    #[error("the model wrote logits that are not finite")]
    NonFinite,
}

/// A model that runs steps. It is owned and called by one thread.
pub trait Backend: Send {
    /// The sizes that the scheduler plans with.
    fn limits(&self) -> Limits;

    /// Runs one step: writes the keys and values of every chunk into its blocks. Returns, in batch order, the output of
    /// each chunk that [`wants`](crate::Chunk::wants) one, which is what it wants. The caller checks whether an output
    /// [is finite](StepOutput::is_finite): it knows to whom it belongs.
    ///
    /// # Errors
    /// [`BackendError::Compute`] when the step failed.
    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError>;

    /// Discards the features of images that it keeps. To be called when an output is not finite: they may contain the
    /// numbers that are not, which would fail every later step with the image.
    fn forget_features(&mut self) {}

    /// Counters since the start, read after every step; all zeros by default.
    fn figures(&self) -> BackendFigures {
        BackendFigures::default()
    }
}
