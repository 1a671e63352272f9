//! Measures how quantised weights change log-probabilities, on every case of the reference checkpoints.

use critic_candle::WeightForm;

use crate::{change::change, golden::checkpoint_in};

#[test]
fn quantised_weights_change_log_probabilities_as_little_as_measured() {
    // With the random weights of a small model, logits are far apart and no training has made it robust to errors.
    // Measured: 0.69, 0.080 and 0.938 with eight bits; 5.91, 0.727 and 0.596 with four.
    for (form, worst, mean, unchanged) in [(WeightForm::Q8, 0.9, 0.1, 0.9), (WeightForm::Q4, 9.0, 0.9, 0.5)] {
        for model in ["tiny56", "geo384"] {
            let change = change(&mut checkpoint_in(model, form), model, ..);
            let small = change.worst > 0.0 && change.worst < worst && change.mean() < mean;
            assert!(small && change.unchanged_share() > unchanged, "{model} {form:?}: {change:?}");
        }
    }
}
