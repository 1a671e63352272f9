//! The head of a reward model such as MM-RLHF-Reward-7B: one number for a whole sequence, computed at its last token.

use candle_core::Result;

use crate::{
    error::LoadError,
    layers::{Bias, Linear},
    rows::Rows,
    weights::{MatrixShape, Weights},
};

/// Prefix of the names of its two layers.
const PREFIX: &str = "rm_head.";

/// Two layers with tanh between them, over the decoder's normalised hidden state: `[C] -> [C] -> [1]`. They are never
/// quantised: they are small, and their errors would go into the reward directly.
#[derive(Debug)]
pub(super) struct RewardHead {
    dense: Linear,
    output: Linear,
}

impl RewardHead {
    /// Loads the head; `None` when the checkpoint has none.
    ///
    /// # Errors
    /// [`LoadError`] when one of its tensors is missing, or has the wrong shape or type.
    pub(super) fn load(weights: &Weights, size: usize) -> std::result::Result<Option<Self>, LoadError> {
        if !weights.contains(&format!("{PREFIX}dense.weight")) {
            return Ok(None);
        }
        let layer = |name: &str, outputs: usize| {
            let (form, shape) = (weights.form().of_the_rest(), MatrixShape { outputs, inputs: size });
            Linear::load(weights.products(form), &format!("{PREFIX}{name}."), shape, Bias::Present)
        };
        Ok(Some(Self { dense: layer("dense", size)?, output: layer("out_proj", 1)? }))
    }

    /// The reward of each row of hidden states `[rows, C]`.
    pub(super) fn forward(&self, hidden: &Rows) -> Result<Vec<f32>> {
        let mut dense = Rows::new();
        self.dense.forward(hidden, &mut dense)?;
        dense.tanh()?;
        Ok(self.output.floats(&dense)?.concat()) // [rows, 1] -> [rows]
    }
}
