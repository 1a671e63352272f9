//! How the next token is chosen from logits.

use crate::TokenId;

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
    /// Subtracted from the logit of each token that was generated already.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit once for each time that it was generated already.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// Draw only from tokens at least this many times as probable as the most probable one; 0 draws from all.
    pub min_p: f32,
    /// No end token is chosen before so many tokens are written.
    pub min_tokens: usize,
    /// Tokens are drawn of those below this one alone, where it is given: a vocabulary may be padded with rows that stand for nothing and
    /// were never trained. That does not hold where the most probable token is one of them.
    pub drawn_below: Option<TokenId>,
    /// Start of the random numbers; the same seed and request give the same text in any batch.
    pub seed: u64,
    /// What is told about each token that is chosen.
    pub report: Report,
}

/// The log-probabilities that are told about a token that was chosen, all under the raw logits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Report {
    /// None: they take another pass over the whole vocabulary.
    #[default]
    Nothing,
    /// Its own, and those of so many most probable ones.
    MostProbable(usize),
    /// Its own, and those of these tokens, in this order.
    Of(Vec<TokenId>),
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: None,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            min_p: 0.0,
            min_tokens: 0,
            drawn_below: None,
            seed: 0,
            report: Report::Nothing,
        }
    }
}
