//! How the next token is chosen from logits.

use crate::TokenId;

/// Sampling parameters of a request. The default is plain greedy decoding.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// 0 takes the most probable token; above 0, logits are divided by it before drawing.
    pub temperature: f32,
    /// Draw only from the smallest set of tokens whose total probability reaches this; 1 draws from all.
    pub top_p: f32,
    /// Draw only from this many most probable tokens; `None` draws from all.
    pub top_k: Option<usize>,
    /// Tokens already generated (never those of the prompt) have positive logits divided and negative ones multiplied
    /// by this; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Subtracted once from the logit of each token that was generated already.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit once for each time that it was generated already.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// Draw only from tokens at least this many times as probable as the most probable one; 0 draws from all.
    pub min_p: f32,
    /// No end token is chosen before the critic has written this many tokens; parts of a reply that are given, or
    /// chosen among labels, do not count.
    pub min_tokens: usize,
    /// Draw only from tokens below this one: a vocabulary may be padded with rows that stand for no token and were
    /// never trained. Has no effect where the most probable token is itself such a row, and in greedy decoding.
    /// `None` draws from all.
    pub drawn_below: Option<TokenId>,
    /// Seed of the random numbers; the same seed and request give the same text in any batch.
    pub seed: u64,
    /// Which log-probabilities are reported for each chosen token.
    pub report: Report,
}

/// Which log-probabilities are reported for a chosen token, all computed from the raw logits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Report {
    /// None, which saves another pass over the whole vocabulary.
    #[default]
    Nothing,
    /// The chosen token's own, and those of this many most probable tokens.
    MostProbable(usize),
    /// The chosen token's own, and those of these tokens, in this order.
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
