//! A critic that is ready to serve: its processor, its model, and what its checkpoint says of generation.

use std::sync::Arc;

use crate::{
    Backend, BackendError, Batch, BlockId, Build, Chunk, GpuMemory, Processor, SequenceId, TokenId, Wants,
};

/// What the checkpoint's `generation_config.json` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationDefaults {
    /// Any of these ends the critic's turn.
    pub end_tokens: Vec<TokenId>,
    /// Penalty on tokens already generated; it holds in greedy decoding too.
    pub repetition_penalty: f32,
}

/// A loaded critic.
pub struct Critic {
    /// Text and images to tokens and tiles, and back.
    pub processor: Arc<dyn Processor>,
    /// The model.
    pub backend: Box<dyn Backend>,
    /// Defaults of generation.
    pub generation: GenerationDefaults,
    /// What it is made of.
    pub build: Build,
    /// How the memory of its GPUs is shared out; none without GPUs, or where nothing was shared out.
    pub gpu_memory: Option<GpuMemory>,
}

impl Critic {
    /// Runs one token through the model, so that what is wrong with it shows before anybody asks. What this leaves in the
    /// cache is nobody's and is written over.
    ///
    /// # Errors
    /// [`BackendError`] when the token cannot be run, or what comes out are no numbers.
    pub fn warm_up(&mut self) -> Result<(), BackendError> {
        let chunk = Chunk {
            sequence: SequenceId(0),
            tokens: vec![TokenId(0)],
            start: 0,
            block_table: vec![BlockId(0)],
            visuals: Vec::new(),
            wants: Wants::Logits,
        };
        let logits = self.backend.forward(&Batch { chunks: vec![chunk] })?;
        if logits.iter().flatten().all(|logit| logit.is_finite()) {
            Ok(())
        } else {
            Err(BackendError::NonFinite)
        }
    }
}
