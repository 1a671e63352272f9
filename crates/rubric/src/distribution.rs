//! How probable each decision was to a critic.

use crate::{Outcome, Preference, Scale};

/// Probabilities of decisions, read from logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Each decision with its probability among these decisions; together 1.
    pub probabilities: Vec<(Outcome, f64)>,
    /// The probability that the critic decides for any of these at all: what this lacks to 1 is what it would rather
    /// have written. A small one says that the critic does not take the question as it was meant.
    pub label_mass: f64,
}

impl Distribution {
    /// From natural logarithms of the decisions' probabilities, those of everything else left out.
    pub fn new(decisions: impl IntoIterator<Item = Outcome>, logprobs: &[f32]) -> Self {
        // Subtracting the largest first, since all of them may be too small to be told from 0.
        let largest = logprobs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = logprobs.iter().map(|logprob| f64::from(logprob - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        let probabilities = decisions.into_iter().zip(weights.iter().map(|weight| weight / total)).collect();
        Self { probabilities, label_mass: (total * f64::from(largest).exp()).min(1.0) }
    }

    /// How probable `preference` is, of whatever strength; 0 when no decision says it.
    pub fn probability(&self, preference: Preference) -> f64 {
        let says = |(outcome, _): &&(Outcome, f64)| outcome.preference() == Some(preference);
        // Started from 0 and not from the -0 of an empty sum.
        self.probabilities.iter().filter(says).fold(0.0, |sum, (_, probability)| sum + probability)
    }

    /// The mean of the scores by their probabilities; `None` for preferences.
    pub fn expected_score(&self) -> Option<f64> {
        let weighted = |(outcome, probability): &(Outcome, f64)| match outcome {
            Outcome::Score(score) => Some(score * probability),
            Outcome::Preference(_) | Outcome::Grade(_) | Outcome::Scores(_) => None,
        };
        self.probabilities.iter().map(weighted).sum()
    }

    /// By how many points the second response is better, the mean by the probabilities; `None` for anything but pairs of
    /// scores.
    pub fn expected_advantage(&self) -> Option<f64> {
        let weighted = |(outcome, probability): &(Outcome, f64)| match outcome {
            Outcome::Scores(pair) => Some(pair.advantage() * probability),
            Outcome::Score(_) | Outcome::Preference(_) | Outcome::Grade(_) => None,
        };
        self.probabilities.iter().map(weighted).sum()
    }

    /// The most probable decision; of equal ones the first.
    pub fn leading(&self) -> Option<Outcome> {
        let better = |one: Option<(Outcome, f64)>, other: &(Outcome, f64)| match one {
            Some(one) if one.1 >= other.1 => Some(one),
            _ => Some(*other),
        };
        self.probabilities.iter().fold(None, better).map(|(outcome, _)| outcome)
    }

    /// These probabilities divided by those that the same decisions have by `prior`, and scaled to 1 again: the contextual
    /// calibration of Zhao et al. (arXiv 2102.09690), with the diagonal weights 1 / p of a content-free input.
    #[must_use]
    pub fn calibrated(&self, prior: &Self) -> Self {
        // What the prior holds for impossible is left to its floor and does not win by it.
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

    /// The mean of several distributions of the same decisions; `None` of none.
    pub fn mean(several: &[Self]) -> Option<Self> {
        let count = several.len() as f64;
        let mean = |index: usize| several.iter().map(|one| one.probabilities[index].1).sum::<f64>() / count;
        let outcomes = several.first()?.probabilities.iter().map(|(outcome, _)| *outcome);
        let probabilities = outcomes.enumerate().map(|(index, outcome)| (outcome, mean(index))).collect();
        let label_mass = several.iter().map(|one| one.label_mass).sum::<f64>() / count;
        Some(Self { probabilities, label_mass })
    }

    /// Whether the critic would rather have written something else.
    pub fn is_off_label(&self) -> bool {
        self.label_mass < 0.5
    }

    /// Where the critic stands between its extremes, from 0 to 1: the expected score as a part of `scale`, or for a comparison
    /// from the second response (0) over a tie to the first (1).
    pub fn lean(&self, scale: Option<Scale>) -> f64 {
        match (self.expected_score(), scale) {
            (Some(score), Some(scale)) => scale.part(score),
            _ => {
                f64::midpoint(1.0, self.probability(Preference::First) - self.probability(Preference::Second))
            }
        }
    }

    /// How undecided the critic is, in nats: 0 when it is sure.
    pub fn entropy(&self) -> f64 {
        let terms = self.probabilities.iter().filter(|(_, probability)| *probability > 0.0);
        // 0 and not -0 for a sure decision.
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
        // 1.5, 5/7 and 2, of 59/14 together.
        let found = read.calibrated(&prior);
        assert!((found.probabilities[0].1 - 21.0 / 59.0).abs() < 1e-6, "{found:?}");
        assert_eq!((read.leading(), found.leading()), (Some(sides[1]), Some(sides[2])));
        // A prior that likes all alike changes nothing.
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
