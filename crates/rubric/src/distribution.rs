//! The probability that a critic assigns to each decision.

use crate::{Outcome, Preference, Scale};

/// Probabilities of decisions, read from logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Each decision with its probability, normalised over these decisions; the sum is 1.
    pub probabilities: Vec<(Outcome, f64)>,
    /// The probability mass of all these decisions together; the remainder to 1 is text that is not one of them. A
    /// small value means that the critic did not understand the question as intended.
    pub label_mass: f64,
}

impl Distribution {
    /// Builds a distribution from the decisions' log-probabilities (natural logarithm), taken over the whole
    /// vocabulary.
    pub fn new(decisions: impl IntoIterator<Item = Outcome>, logprobs: &[f32]) -> Self {
        // The largest is subtracted first, since all of them may underflow to 0.
        let largest = logprobs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = logprobs.iter().map(|logprob| f64::from(logprob - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        let probabilities = decisions.into_iter().zip(weights.iter().map(|weight| weight / total)).collect();
        Self { probabilities, label_mass: (total * f64::from(largest).exp()).min(1.0) }
    }

    /// The probability of `preference`, summed over its strengths; 0 when no decision has it.
    pub fn probability(&self, preference: Preference) -> f64 {
        let says = |(outcome, _): &&(Outcome, f64)| outcome.preference() == Some(preference);
        // The fold starts at 0.0, since an empty `sum()` of floats is -0.0.
        self.probabilities.iter().filter(says).fold(0.0, |sum, (_, probability)| sum + probability)
    }

    /// The mean of the scores, weighted by their probabilities; `None` if the decisions are not single scores.
    pub fn expected_score(&self) -> Option<f64> {
        let weighted = |(outcome, probability): &(Outcome, f64)| match outcome {
            Outcome::Score(score) => Some(score * probability),
            Outcome::Preference(_) | Outcome::Grade(_) | Outcome::Scores(_) => None,
        };
        self.probabilities.iter().map(weighted).sum()
    }

    /// The expected lead of the second response in points of the scale, as the mean weighted by the probabilities;
    /// `None` for anything but pairs of scores.
    pub fn expected_advantage(&self) -> Option<f64> {
        let weighted = |(outcome, probability): &(Outcome, f64)| match outcome {
            Outcome::Scores(pair) => Some(pair.advantage() * probability),
            Outcome::Score(_) | Outcome::Preference(_) | Outcome::Grade(_) => None,
        };
        self.probabilities.iter().map(weighted).sum()
    }

    /// The most probable decision, the first one on a tie; `None` when there are no decisions.
    pub fn leading(&self) -> Option<Outcome> {
        let better = |one: Option<(Outcome, f64)>, other: &(Outcome, f64)| match one {
            Some(one) if one.1 >= other.1 => Some(one),
            _ => Some(*other),
        };
        self.probabilities.iter().fold(None, better).map(|(outcome, _)| outcome)
    }

    /// The probabilities divided by those of the same decisions in `prior`, and normalised again: the contextual
    /// calibration of Zhao et al. (arXiv 2102.09690), with the diagonal weights 1 / p of a content-free input.
    #[must_use]
    pub fn calibrated(&self, prior: &Self) -> Self {
        // Lower bound for prior probabilities, so that division by a prior near 0 does not make that decision win.
        const FLOOR: f64 = 1e-6;
        let weights = self.probabilities.iter().map(|(outcome, probability)| {
            let before = prior.probabilities.iter().find(|(other, _)| other == outcome);
            probability / before.map_or(1.0, |(_, before)| before.max(FLOOR))
        });
        let weights: Vec<f64> = weights.collect();
        let total: f64 = weights.iter().sum();
        let outcomes = self.probabilities.iter().map(|(outcome, _)| *outcome);
        let probabilities = outcomes.zip(weights.iter().map(|weight| weight / total)).collect();
        Self { probabilities, label_mass: self.label_mass }
    }

    /// The mean of several distributions over the same decisions; `None` when `several` is empty.
    pub fn mean(several: &[Self]) -> Option<Self> {
        let count = several.len() as f64;
        let mean = |index: usize| several.iter().map(|one| one.probabilities[index].1).sum::<f64>() / count;
        let outcomes = several.first()?.probabilities.iter().map(|(outcome, _)| *outcome);
        let probabilities = outcomes.enumerate().map(|(index, outcome)| (outcome, mean(index))).collect();
        let label_mass = several.iter().map(|one| one.label_mass).sum::<f64>() / count;
        Some(Self { probabilities, label_mass })
    }

    /// The position between both extremes, from 0 to 1: the expected score as a fraction of `scale`, or for a
    /// comparison from the second response (0) through a tie (0.5) to the first (1).
    pub fn lean(&self, scale: Option<Scale>) -> f64 {
        match (self.expected_score(), scale) {
            (Some(score), Some(scale)) => scale.part(score),
            _ => {
                f64::midpoint(1.0, self.probability(Preference::First) - self.probability(Preference::Second))
            }
        }
    }

    /// The entropy in nats; 0 for a certain decision.
    pub fn entropy(&self) -> f64 {
        let terms = self.probabilities.iter().filter(|(_, probability)| *probability > 0.0);
        // Subtracted from 0.0, since a negation would give -0.0 for a certain decision.
        0.0 - terms.map(|(_, probability)| probability * probability.ln()).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, Grade, ScorePair};

    #[test]
    fn probabilities_are_among_the_decisions_and_the_rest_is_told() {
        let scores = [1.0, 2.0, 3.0].map(Outcome::Score);
        let found = Distribution::new(scores, &[0.1f32.ln(), 0.3f32.ln(), 0.1f32.ln()]);
        assert!((found.label_mass - 0.5).abs() < 1e-6);
        assert!((found.expected_score().unwrap() - 2.0).abs() < 1e-6);
        let entropy = -(0.2 * 0.2f64.ln() * 2.0 + 0.6 * 0.6f64.ln());
        assert!((found.entropy() - entropy).abs() < 1e-6);
    }

    #[test]
    fn what_is_all_but_impossible_still_has_an_order() {
        let found = Distribution::new([0.0, 1.0].map(Outcome::Score), &[-200.0, -201.0]);
        assert!((found.probabilities[0].1 - 1.0 / (1.0 + (-1f64).exp())).abs() < 1e-6);
        assert!(found.label_mass < 1e-60);
        let sure = Distribution::new([Preference::Tie].map(Outcome::Preference), &[0.0]);
        assert_eq!((sure.entropy(), sure.expected_score()), (0.0, None));
    }

    #[test]
    fn a_preference_is_as_probable_as_its_strengths_together() {
        let grades = [Grade::FirstByFar, Grade::First, Grade::SecondByFar].map(Outcome::Grade);
        let found = Distribution::new(grades, &[0.5f32.ln(), 0.25f32.ln(), 0.25f32.ln()]);
        let told =
            [Preference::First, Preference::Second, Preference::Tie].map(|side| found.probability(side));
        assert!((told[0] - 0.75).abs() < 1e-6 && (told[1] - 0.25).abs() < 1e-6 && told[2] == 0.0, "{told:?}");
        assert_eq!(found.expected_score(), None);
    }

    #[test]
    fn pairs_of_scores_have_an_expected_difference() {
        let found = |direction| {
            let pairs = [(8.0, 7.0), (6.0, 10.0)];
            let pairs =
                pairs.map(|(first, second)| Outcome::Scores(ScorePair::new(first, second, direction)));
            Distribution::new(pairs, &[0.75f32.ln(), 0.25f32.ln()]).expected_advantage().unwrap()
        };
        assert!((found(Direction::Higher) - 0.25).abs() < 1e-6);
        assert!((found(Direction::Lower) + 0.25).abs() < 1e-6);
        let sides = [Preference::First, Preference::Second].map(Outcome::Preference);
        assert_eq!(Distribution::new(sides, &[-1.0, -1.0]).expected_advantage(), None);
    }

    #[test]
    fn what_the_prior_likes_counts_for_less() {
        let sides = [Preference::First, Preference::Second, Preference::Tie].map(Outcome::Preference);
        let of = |parts: [f32; 3]| Distribution::new(sides, &parts.map(f32::ln));
        let (read, prior) = (of([0.3, 0.5, 0.2]), of([0.2, 0.7, 0.1]));
        // The weights are 1.5, 5/7 and 2, which sum to 59/14.
        let found = read.calibrated(&prior);
        assert!((found.probabilities[0].1 - 21.0 / 59.0).abs() < 1e-6, "{found:?}");
        assert_eq!((read.leading(), found.leading()), (Some(sides[1]), Some(sides[2])));
        // A uniform prior changes nothing.
        let even = read.calibrated(&of([0.1, 0.1, 0.1]));
        assert!(even.probabilities.iter().zip(&read.probabilities).all(|(a, b)| (a.1 - b.1).abs() < 1e-6));
        let mean = Distribution::mean(&[read.clone(), prior]).unwrap();
        assert!((mean.probabilities[1].1 - 0.6).abs() < 1e-6);
        assert_eq!(Distribution::mean(&[]), None);
        assert!((read.lean(None) - 0.4).abs() < 1e-6);
        let scores = Distribution::new([1.0, 5.0].map(Outcome::Score), &[0.25f32.ln(), 0.75f32.ln()]);
        assert!(
            (scores.lean(Some(Scale { min: 1.0, max: 5.0, step: 1.0, decimals: false })) - 0.75).abs() < 1e-6
        );
    }
}
