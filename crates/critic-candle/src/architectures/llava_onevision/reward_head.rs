//! The head of a reward model: one number for a whole sequence, read at its last token, as MM-RLHF-Reward-7B has it.

use candle_core::Result;

use crate::{
    error::LoadError,
    layers::{Bias, Linear, Rows},
    weights::Weights,
};

/// Before the names of its two layers.
const PREFIX: &str = "rm_head.";

/// Two layers with tanh between, over the decoder's normalised hidden state: `[C] -> [C] -> [1]`. They are never
/// quantised, being small and the last that is computed.
#[derive(Debug)]
pub(super) struct RewardHead {
    dense: Linear,
    output: Linear,
}

impl RewardHead {
    /// Reads it; `None` when the checkpoint has none.
    ///
    /// # Errors
    /// [`LoadError`] when a part of it is missing or has the wrong shape.
    pub(super) fn load(weights: &Weights, size: usize) -> std::result::Result<Option<Self>, LoadError> {
        if !weights.contains(&format!("{PREFIX}dense.weight")) {
            return Ok(None);
        }
        let layer = |name: &str, output: usize| {
            let form = weights.form().of_the_rest();
            Linear::load(weights.products(form), &format!("{PREFIX}{name}."), (size, output), Bias::Present)
        };
        Ok(Some(Self { dense: layer("dense", size)?, output: layer("out_proj", 1)? }))
    }

    /// Hidden states `[rows, C]` to the reward of each row, one number.
    pub(super) fn forward(&self, hidden: &Rows) -> Result<Vec<Vec<f32>>> {
        let mut dense = Rows::new();
        self.dense.forward(hidden, &mut dense)?;
        dense.tanh()?;
        self.output.floats(&dense)
    }
}
