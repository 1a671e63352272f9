//! A critic that is ready to serve: its processor, its model, and what its checkpoint says of generation.

use std::sync::Arc;

use crate::{Backend, Processor, TokenId};

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
    /// Text and pictures to tokens and tiles, and back.
    pub processor: Arc<dyn Processor>,
    /// The model.
    pub backend: Box<dyn Backend>,
    /// Defaults of generation.
    pub generation: GenerationDefaults,
}
