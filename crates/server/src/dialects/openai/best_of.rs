//! Selects which of several generated texts are returned.

use judge::Completion;

/// If there are more than `count` texts, the `count` with the highest mean log-probability of their tokens, best
/// first; otherwise all of them in their order.
pub(super) fn best_of(mut texts: Vec<Completion>, count: usize) -> Vec<Completion> {
    if texts.len() > count {
        texts.sort_by(|one, other| mean_logprob(other).total_cmp(&mean_logprob(one)));
        texts.truncate(count);
    }
    texts
}

/// The mean log-probability of the tokens of a text.
fn mean_logprob(completion: &Completion) -> f32 {
    let tokens = &completion.piece.logprobs;
    let sum: f32 = tokens.iter().map(|token| token.logprob).sum();
    // A text of control tokens only comes last.
    if tokens.is_empty() { f32::NEG_INFINITY } else { sum / tokens.len() as f32 }
}
