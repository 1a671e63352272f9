//! How a text is written.

use critic::{Report, TokenId};
use rubric::Restraint;

use crate::{Bound, Caller, ReplyPart};

/// How a text is written.
#[derive(Debug, Clone)]
pub struct CompletionParams {
    /// 0 selects the most probable token.
    pub temperature: f32,
    /// Sample only from the smallest set of tokens whose total probability reaches this.
    pub top_p: f32,
    /// Sample only from this many most probable tokens.
    pub top_k: Option<usize>,
    /// Seed of the random numbers; `None` chooses a random one for each request.
    pub seed: Option<u64>,
    /// Penalty on tokens already written; `None` uses the checkpoint's default.
    pub repetition_penalty: Option<f32>,
    /// Subtracted from the logit of every token already written.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit once for each time that it was written.
    pub frequency_penalty: f32,
    /// Values added to the logits of these tokens.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// Sample only from tokens with at least this fraction of the most probable token's probability.
    pub min_p: f32,
    /// Minimum number of tokens before the critic may end its turn.
    pub min_tokens: usize,
    /// Maximum number of tokens, counted as `bound` defines; limited by the room left in the context.
    pub max_tokens: usize,
    /// Each of these strings ends the text and is not part of it.
    pub stop: Vec<String>,
    /// The pieces of the reply, in order.
    pub script: Vec<ReplyPart>,
    /// What `max_tokens` limits.
    pub bound: Bound,
    /// Restrictions on the written text.
    pub restraint: Restraint,
    /// Report the log-probability of each token and of this many most probable tokens.
    pub top_logprobs: Option<usize>,
    /// With `top_logprobs`, report these tokens in this order instead of the most probable ones; empty for the
    /// latter.
    pub logprob_tokens: Vec<TokenId>,
    /// Write until `max_tokens`, ignoring end tokens.
    pub ignore_end: bool,
    /// Include control tokens in the text.
    pub show_control: bool,
    /// The client for which the text is written.
    pub caller: Caller,
}

impl CompletionParams {
    /// Greedy decoding with default values for everything else.
    pub fn greedy(max_tokens: usize) -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: None,
            seed: None,
            repetition_penalty: None,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            min_p: 0.0,
            min_tokens: 0,
            max_tokens,
            stop: Vec::new(),
            script: vec![ReplyPart::Write],
            bound: Bound::default(),
            restraint: Restraint::default(),
            top_logprobs: None,
            logprob_tokens: Vec::new(),
            ignore_end: false,
            show_control: false,
            caller: Caller::default(),
        }
    }

    /// What the engine reports about each token.
    pub(crate) fn report(&self) -> Report {
        match self.top_logprobs {
            None => Report::Nothing,
            Some(count) if self.logprob_tokens.is_empty() => Report::MostProbable(count),
            Some(_) => Report::Of(self.logprob_tokens.clone()),
        }
    }
}
