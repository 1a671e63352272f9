//! Log-probabilities of tokens and of labels.

use std::{collections::VecDeque, sync::Arc};

use critic::{Processor, TokenId};
use engine::{Choice, Reported};

use super::{TokenLogprob, held_tokens::TokenReport};

/// The bytes of a token in place of its id, in what the engine reports about a sampled one.
pub(super) fn token_report(processor: &dyn Processor, reported: &Reported) -> TokenReport {
    let bytes = |(token, logprob): &(TokenId, f32)| (processor.token_bytes(*token), *logprob);
    TokenReport { logprob: reported.chosen, top: reported.others.iter().map(bytes).collect() }
}

/// Reports the choices of a script, if log-probabilities were requested.
pub(super) struct ChoiceLogprobs {
    processor: Arc<dyn Processor>,
    /// The labels of the remaining choices as bytes, in order.
    labels: VecDeque<Vec<Vec<u8>>>,
    /// Number of alternatives that are reported for a token.
    most: usize,
}

impl ChoiceLogprobs {
    pub(super) fn new(processor: Arc<dyn Processor>, labels: VecDeque<Vec<Vec<u8>>>, most: usize) -> Self {
        Self { processor, labels, most }
    }

    /// Log-probabilities of those tokens of the next choice that tell its label from others; `starts` are the
    /// characters before each token. For a choice between single tokens the most probable alternatives are taken from
    /// the labels, since no other token is possible there.
    pub(super) fn next(&mut self, choice: &Choice, starts: &[usize]) -> Vec<TokenLogprob> {
        let labels = self.labels.pop_front().unwrap_or_default();
        let read = choice.tokens.iter().zip(starts).filter_map(|((token, sampled), start)| {
            let TokenReport { logprob, top } =
                token_report(&*self.processor, sampled.as_ref()?.report.as_ref()?);
            Some(TokenLogprob { bytes: self.processor.token_bytes(*token), start: *start, logprob, top })
        });
        let mut logprobs: Vec<TokenLogprob> = read.collect();
        if let ([_], [only], Some(all)) = (&choice.tokens[..], logprobs.as_mut_slice(), &choice.logprobs) {
            let mut top: Vec<(Vec<u8>, f32)> =
                labels.into_iter().zip(all).map(|(label, logprob)| (label, *logprob)).collect();
            top.sort_by(|one, other| other.1.total_cmp(&one.1));
            top.truncate(self.most);
            only.top = top;
        }
        logprobs
    }
}
