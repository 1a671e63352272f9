//! A critic that is ready to serve: its processor, its model, and its checkpoint's generation defaults.

use std::sync::Arc;

use crate::{
    Backend, BackendError, Batch, BlockId, Build, Chunk, GpuMemory, Processor, SequenceId, StepOutput,
    TokenId, Wants,
};

/// The checkpoint's generation defaults, from `generation_config.json` where there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationDefaults {
    /// Any of these ends the critic's turn.
    pub end_tokens: Vec<TokenId>,
    /// Penalty on tokens already generated; it applies to greedy decoding too.
    pub repetition_penalty: f32,
}

/// A loaded critic.
pub struct Critic {
    /// Turns prompts into tokens and tiles, and tokens back into bytes.
    pub processor: Arc<dyn Processor>,
    /// The model.
    pub backend: Box<dyn Backend>,
    /// Generation defaults of the checkpoint.
    pub generation: GenerationDefaults,
    /// The properties that its verdicts depend on.
    pub build: Build,
    /// How the memory of its GPUs is divided; `None` without GPUs, and where it was not measured, because the size
    /// of the cache was configured and memory is not claimed at the start.
    pub gpu_memory: Option<GpuMemory>,
}

impl Critic {
    /// Runs one token through the model, so that a broken model fails before the first request. The keys and values
    /// that this leaves in block 0 belong to no sequence and are overwritten.
    ///
    /// # Errors
    /// [`BackendError::Compute`] when the step fails, [`BackendError::NonFinite`] when a logit is not finite.
    pub fn warm_up(&mut self) -> Result<(), BackendError> {
        let chunk = Chunk {
            sequence: SequenceId(0),
            tokens: vec![TokenId(0)],
            start: 0,
            block_table: vec![BlockId(0)],
            visuals: Vec::new(),
            wants: Wants::Logits,
        };
        let outputs = self.backend.forward(&Batch { chunks: vec![chunk] })?;
        if outputs.iter().all(StepOutput::is_finite) { Ok(()) } else { Err(BackendError::NonFinite) }
    }
}
