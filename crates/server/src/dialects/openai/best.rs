//! Which of several texts are told.

use judge::Completion;

/// The `count` texts whose tokens are the most probable in the mean, when there are more: the best first.
pub(super) fn best(mut texts: Vec<Completion>, count: usize) -> Vec<Completion> {
    if texts.len() > count {
        texts.sort_by(|one, other| mean_logprob(other).total_cmp(&mean_logprob(one)));
        texts.truncate(count);
    }
    texts
}

/// How probable the tokens of a text were in the mean.
fn mean_logprob(completion: &Completion) -> f32 {
    let tokens = &completion.piece.logprobs;
    let sum: f32 = tokens.iter().map(|token| token.logprob).sum();
    // A text whose tokens are all control tokens is told last.
    if tokens.is_empty() { f32::NEG_INFINITY } else { sum / tokens.len() as f32 }
}
