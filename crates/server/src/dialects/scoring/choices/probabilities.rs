//! The probabilities of a question's answers, from their logits.

use judge::Usage;

use crate::error::ApiError;

/// The probabilities of the answers to a question. There is at least one answer.
#[derive(Debug, Clone)]
pub(in super::super) struct AnswerProbabilities {
    /// Probability of each answer at the requested temperature; the sum is 1.
    pub(in super::super) probabilities: Vec<f64>,
    /// Natural logarithm of each answer's probability among all texts, at temperature 1.
    pub(in super::super) logprobs: Vec<f32>,
    /// The probability mass of all answers together, at temperature 1.
    pub(in super::super) label_mass: f64,
    /// Token counts of the question.
    pub(in super::super) usage: Usage,
}

impl AnswerProbabilities {
    /// The probabilities at `temperature` of answers with these log-probabilities.
    pub(super) fn new(logprobs: Vec<f32>, temperature: f64, usage: Usage) -> Self {
        // The largest is subtracted first: all may underflow to 0, and its quotient is then 0 at any temperature.
        let largest = f64::from(logprobs.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let weights = |temperature: f64| -> Vec<f64> {
            let weight = |logprob: &f32| ((f64::from(*logprob) - largest) / temperature).exp();
            logprobs.iter().map(weight).collect()
        };
        let label_mass = (weights(1.0).iter().sum::<f64>() * largest.exp()).min(1.0);
        let mut probabilities = weights(temperature);
        let total: f64 = probabilities.iter().sum();
        for probability in &mut probabilities {
            *probability /= total;
        }
        Self { probabilities, logprobs, label_mass, usage }
    }

    /// Moves each answer by `places` to the right, those at the end to the beginning; `places` is at most their number.
    pub(super) fn rotated(mut self, places: usize) -> Self {
        self.probabilities.rotate_right(places);
        self.logprobs.rotate_right(places);
        self
    }

    /// The index of the most probable answer, the first one on a tie.
    pub(in super::super) fn best(&self) -> usize {
        let best = |best: usize, index: usize| {
            if self.probabilities[index] > self.probabilities[best] { index } else { best }
        };
        (0..self.probabilities.len()).fold(0, best)
    }

    /// The probability of the most probable answer among all texts, at temperature 1, which vLLM calls its confidence:
    /// it is low if the critic would rather have answered something else.
    pub(in super::super) fn confidence(&self) -> f64 {
        f64::from(self.logprobs[self.best()]).exp().min(1.0)
    }

    /// The mean of the answers' indices, from 0, weighted by their probabilities.
    pub(in super::super) fn mean_index(&self) -> f64 {
        self.probabilities.iter().enumerate().map(|(index, probability)| index as f64 * probability).sum()
    }
}

/// The temperature by which differences between logits are divided before probabilities are computed; 1 by default.
///
/// # Errors
/// When it is not a finite number above 0.
pub(in super::super) fn temperature(requested: Option<f64>) -> Result<f64, ApiError> {
    let temperature = requested.unwrap_or(1.0);
    if temperature.is_finite() && temperature > 0.0 {
        return Ok(temperature);
    }
    Err(ApiError::out_of_bounds("temperature", "temperature must be above 0."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probabilities(probabilities: &[f32], temperature: f64) -> AnswerProbabilities {
        let logprobs = probabilities.iter().map(|probability| probability.ln()).collect();
        AnswerProbabilities::new(logprobs, temperature, Usage::default())
    }

    #[test]
    fn the_best_and_the_mean() {
        let probabilities = probabilities(&[0.2, 0.4, 0.2], 1.0);
        assert_eq!(probabilities.best(), 1);
        assert!((probabilities.mean_index() - 1.0).abs() < 1e-6);
        assert!((probabilities.confidence() - 0.4).abs() < 1e-6);
        let rotated = probabilities.clone().rotated(2);
        assert_eq!(rotated.best(), 0);
        assert_eq!(rotated.logprobs[0].to_bits(), probabilities.logprobs[1].to_bits());
    }

    #[test]
    fn a_temperature_makes_answers_more_alike_and_leaves_the_mass() {
        let (plain, warm) = (probabilities(&[0.4, 0.1], 1.0), probabilities(&[0.4, 0.1], 2.0));
        assert!((plain.probabilities[0] - 0.8).abs() < 1e-6 && (plain.label_mass - 0.5).abs() < 1e-6);
        // At temperature 2, the odds of 4 to 1 become their square root.
        assert!((warm.probabilities[0] - 2.0 / 3.0).abs() < 1e-6);
        assert_eq!((warm.label_mass, &warm.logprobs), (plain.label_mass, &plain.logprobs));
        assert!((warm.confidence() - 0.4).abs() < 1e-6);
        assert_eq!(probabilities(&[0.4, 0.1], 1e-300).probabilities, [1.0, 0.0]);
    }

    #[test]
    fn probabilities_that_underflow_are_still_compared() {
        let probabilities = AnswerProbabilities::new(vec![-2000.0, -2000.0], 1.0, Usage::default());
        assert_eq!((&probabilities.probabilities[..], probabilities.label_mass), (&[0.5, 0.5][..], 0.0));
    }

    #[test]
    fn a_temperature_is_above_0() {
        assert_eq!(temperature(None).ok(), Some(1.0));
        assert_eq!(temperature(Some(0.5)).ok(), Some(0.5));
        for wrong in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert_eq!(temperature(Some(wrong)).unwrap_err().param(), Some("temperature"));
        }
    }
}
