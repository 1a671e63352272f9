//! Tokens that wait until their text is released.

use std::{collections::VecDeque, ops::Range};

use super::TokenLogprob;

/// A token that is not reported yet.
#[derive(Debug)]
pub(super) struct HeldToken {
    /// The place of its text among all that the critic writes, in bytes.
    pub(super) place: Range<usize>,
    pub(super) bytes: Vec<u8>,
    pub(super) report: TokenReport,
}

/// What is reported about a token.
#[derive(Debug)]
pub(super) struct TokenReport {
    /// Natural logarithm of its probability.
    pub(super) logprob: f32,
    /// The bytes and log-probabilities of alternatives.
    pub(super) top: Vec<(Vec<u8>, f32)>,
}

/// The tokens of one text that are not reported yet, in order: their text may belong to a stop string, or to a string
/// that is forbidden.
#[derive(Debug, Default)]
pub(super) struct HeldTokens {
    tokens: VecDeque<HeldToken>,
    /// The number of tokens whose first byte belongs to no stop string.
    begun: usize,
    /// The values of [`TokenLogprob::start`] of the first tokens, as far as they are known.
    starts: VecDeque<usize>,
}

impl HeldTokens {
    /// Appends a token.
    pub(super) fn push(&mut self, token: HeldToken) {
        self.tokens.push_back(token);
    }

    /// The bytes at which tokens begin in `released`, a part of the text that belongs to no stop string, counted from
    /// its start.
    pub(super) fn begin(&mut self, released: &Range<usize>) -> Vec<usize> {
        let starts = self.tokens.iter().skip(self.begun).map(|token| token.place.start);
        let starts: Vec<usize> = starts
            .take_while(|start| *start <= released.end)
            .map(|start| start.saturating_sub(released.start))
            .collect();
        self.begun += starts.len();
        starts
    }

    /// Sets [`TokenLogprob::start`] of the next tokens that have begun.
    pub(super) fn place(&mut self, starts: impl IntoIterator<Item = usize>) {
        self.starts.extend(starts);
    }

    /// Removes the first tokens for whose place `is_shown` holds.
    pub(super) fn take(&mut self, is_shown: impl Fn(&Range<usize>) -> bool) -> Vec<TokenLogprob> {
        let mut taken = Vec::new();
        while self.tokens.front().is_some_and(|token| is_shown(&token.place)) {
            let Some(start) = self.starts.pop_front() else { break };
            let Some(HeldToken { bytes, report, .. }) = self.tokens.pop_front() else { break };
            let TokenReport { logprob, top } = report;
            taken.push(TokenLogprob { bytes, start, logprob, top });
            self.begun -= 1;
        }
        taken
    }
}
