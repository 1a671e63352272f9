//! Measures how coarser arithmetic changes log-probabilities, on the cases of the reference checkpoints.

use std::ops::RangeBounds;

use critic_candle::Checkpoint;

use crate::{
    golden::{Golden, cases},
    runner::{Sequence, argmax, encode_raw, log_softmax, prefill},
};

/// The differences from the reference in the log-probabilities of the tokens of prompts and greedy replies.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) worst: f32,
    sum: f64,
    count: usize,
    /// Number of greedy tokens, each after the reference's tokens so far, and how many of them equal the reference's.
    tokens: usize,
    unchanged: usize,
}

impl Change {
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    pub(crate) fn unchanged_share(&self) -> f64 {
        self.unchanged as f64 / self.tokens as f64
    }

    fn see(&mut self, found: f32, wanted: f32) {
        let difference = (found - wanted).abs();
        self.worst = self.worst.max(difference);
        self.sum += f64::from(difference);
        self.count += 1;
    }
}

/// Runs the reference's own tokens, prompt and greedy reply, of all cases of `model` whose prompt length is in
/// `lengths`.
pub(crate) fn change(checkpoint: &mut Checkpoint, model: &str, lengths: impl RangeBounds<usize>) -> Change {
    let mut change = Change::default();
    for case in cases().iter().filter(|case| case.model == model && case.kind == "single") {
        let golden = Golden::open(&case.file);
        let mut encoded = encode_raw(checkpoint.processor.as_ref(), case);
        let prompt = encoded.tokens.len();
        if !lengths.contains(&prompt) {
            continue;
        }
        let greedy = golden.integers("greedy_ids");
        let ids = [golden.integers("input_ids"), greedy.clone()].concat();
        encoded.tokens.extend(greedy[..greedy.len() - 1].iter().map(|id| critic::TokenId(*id as u32)));
        let hidden = prefill(&mut checkpoint.backend, &mut Sequence::new(encoded, 0, 1), 512);
        let rows: Vec<Vec<f32>> = checkpoint.backend.logits(&hidden).unwrap().to_vec2().unwrap();
        let wanted = [golden.floats("prompt_logprobs"), golden.floats("greedy_logprobs")].concat();
        for (index, (row, wanted)) in rows.iter().zip(wanted).enumerate() {
            change.see(log_softmax(row)[ids[index + 1] as usize], wanted);
            if index + 1 >= prompt {
                change.tokens += 1;
                change.unchanged += usize::from(argmax(row) as i64 == ids[index + 1]);
            }
        }
    }
    change
}
