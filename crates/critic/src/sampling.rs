//! How the next token is chosen from logits.

/// The choices of a request. The default is plain greedy.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// 0 takes the most probable token; above 0, logits are divided by it before drawing.
    pub temperature: f32,
    /// Draw only from the smallest set of tokens whose probability reaches this; 1 draws from all.
    pub top_p: f32,
    /// Draw only from this many most probable tokens, when given.
    pub top_k: Option<usize>,
    /// Tokens already generated (never those of the prompt) have positive logits divided and negative ones multiplied
    /// by this; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Start of the random numbers; the same seed and request give the same text in any batch.
    pub seed: u64,
    /// How many of the most probable tokens are reported beside the chosen one, from raw logits.
    pub top_logprobs: usize,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self { temperature: 0.0, top_p: 1.0, top_k: None, repetition_penalty: 1.0, seed: 0, top_logprobs: 0 }
    }
}
