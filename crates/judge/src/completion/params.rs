//! How a text is written.

use critic::{Report, TokenId};
use rubric::Restraint;

use crate::{Bound, Caller, ReplyPart};

/// The most log-probabilities that one answer reports, about 40 MB of JSON: 20 alternatives of each of 12,000 tokens,
/// or of each of 600 tokens of 20 texts.
const MAX_REPORTED: usize = 1 << 18;

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
            script: vec![ReplyPart::Generate],
            bound: Bound::default(),
            restraint: Restraint::default(),
            top_logprobs: None,
            logprob_tokens: Vec::new(),
            ignore_end: false,
            show_control: false,
            caller: Caller::default(),
        }
    }

    /// These parameters for one of `texts` texts of one answer, with a limit on tokens so low that all of them together
    /// report a bounded number of log-probabilities (2^18).
    #[must_use]
    pub fn one_of(mut self, texts: usize) -> Self {
        if let Some(count) = self.top_logprobs {
            let each = 1 + count.max(self.logprob_tokens.len());
            self.max_tokens = self.max_tokens.min((MAX_REPORTED / each / texts.max(1)).max(1));
            self.min_tokens = self.min_tokens.min(self.max_tokens);
        }
        self
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_reports_is_bounded_by_shorter_texts() {
        let bounded = |top, texts| {
            let params =
                CompletionParams { top_logprobs: top, min_tokens: 9000, ..CompletionParams::greedy(20_000) };
            let params = params.one_of(texts);
            (params.max_tokens, params.min_tokens)
        };
        assert_eq!(bounded(None, 128), (20_000, 9000));
        assert_eq!(bounded(Some(0), 1), (20_000, 9000));
        assert_eq!(bounded(Some(20), 1), (12_483, 9000));
        assert_eq!(bounded(Some(20), 128), (97, 97));
        let named = CompletionParams {
            top_logprobs: Some(0),
            logprob_tokens: vec![TokenId(0); 1 << 20],
            ..CompletionParams::greedy(5)
        };
        assert_eq!(named.one_of(1).max_tokens, 1);
    }
}
