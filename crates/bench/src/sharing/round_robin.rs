//! All ordered pairs of several responses about one image, as prompts.

use std::sync::Arc;

use critic::{Encoded, Medium, Tiles, TokenId, Visual};
use serde::Serialize;

/// The first token of texts; the tokens below it are reserved for labels.
pub(crate) const FIRST_TEXT_TOKEN: usize = 8;

/// A comparison of every response with every other one, in both orders.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RoundRobin {
    /// The number of responses, at least 2.
    pub responses: usize,
    /// Tokens of the image, with which every prompt begins.
    pub image_tokens: usize,
    /// Tokens of the rubric and the question, which follow.
    pub question_tokens: usize,
    /// Tokens of each response; a prompt has two of them.
    pub response_tokens: usize,
    /// Tokens at the end of the prompt.
    pub ending_tokens: usize,
}

impl RoundRobin {
    /// A round robin of this many responses, with one large image and texts of usual length.
    pub fn of(responses: usize) -> Self {
        Self { responses, image_tokens: 1500, question_tokens: 150, response_tokens: 120, ending_tokens: 8 }
    }

    /// Tokens of each prompt.
    pub(crate) fn prompt_tokens(&self) -> usize {
        self.image_tokens + self.question_tokens + 2 * self.response_tokens + self.ending_tokens
    }

    /// All ordered pairs of responses.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let responses = self.responses;
        let all = (0..responses).flat_map(move |first| (0..responses).map(move |second| (first, second)));
        all.filter(|(first, second)| first != second)
    }

    /// The prompt that compares two responses: image, question, first response, second response, ending.
    pub(crate) fn prompt(&self, (first, second): (usize, usize)) -> Encoded {
        let mut next = FIRST_TEXT_TOKEN;
        let mut text = |length: usize| {
            next += length;
            (next - length..next).map(|token| TokenId(token as u32)).collect::<Vec<_>>()
        };
        let (question, ending) = (text(self.question_tokens), text(self.ending_tokens));
        let responses: Vec<_> = (0..self.responses).map(|_| text(self.response_tokens)).collect();
        let image = vec![TokenId(0); self.image_tokens];
        let visual = Visual {
            start: 0,
            length: self.image_tokens,
            tiles: Arc::new(Tiles { size: 1, pixels: Vec::new() }),
            medium: Medium::Image { height: 1, width: 1 },
            hash: [7; 32],
        };
        let parts = [&image, &question, &responses[first], &responses[second], &ending];
        Encoded { tokens: parts.into_iter().flatten().copied().collect(), visuals: vec![visual] }
    }

    /// The fewest tokens that can be computed: each common prefix of prompts once.
    pub(crate) fn distinct_tokens(&self) -> usize {
        let &Self { responses, response_tokens, .. } = self;
        let (before, after) =
            (self.image_tokens + self.question_tokens, response_tokens + self.ending_tokens);
        before + responses * response_tokens + responses * (responses - 1) * after
    }
}

#[cfg(test)]
mod tests {
    use super::RoundRobin;

    #[test]
    fn the_fewest_tokens_are_those_of_a_tree() {
        let tiny = RoundRobin {
            responses: 3,
            image_tokens: 100,
            question_tokens: 10,
            response_tokens: 5,
            ending_tokens: 1,
        };
        assert_eq!(tiny.distinct_tokens(), 110 + 3 * 5 + 6 * 6);
        let pairs: Vec<_> = tiny.pairs().collect();
        assert_eq!(pairs, [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]);
        let (one, other) = (tiny.prompt((0, 1)), tiny.prompt((0, 2)));
        assert_eq!((one.tokens.len(), &one.tokens[..115]), (121, &other.tokens[..115]));
        assert_ne!(one.tokens[115], other.tokens[115]);
    }
}
