//! A critic's answers, as far as figures need them.

use std::collections::BTreeMap;

use rubric::{Direction, Preference};
use serde::Deserialize;
use serde_json::Value;

use crate::{item::ReferenceScale, plan::Ask};

/// The outcome of a request: the body of its answer, or the reason why there is none.
pub type Outcome = Result<Value, String>;

/// The answers to a plan.
pub type Answers = BTreeMap<Ask, Outcome>;

/// A verdict.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) score: Option<f64>,
    preference: Option<String>,
    scale: Option<Scale>,
    distribution: Option<Distribution>,
    orders: Option<Vec<Verdict>>,
    #[serde(default)]
    pub(crate) flags: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Scale {
    min: f64,
    max: f64,
    step: f64,
    /// Absent if higher scores are better.
    #[serde(default)]
    direction: Direction,
}

#[derive(Debug, Clone, Deserialize)]
struct Distribution {
    probabilities: Vec<Probability>,
    expected_score: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
struct Probability {
    score: Option<f64>,
    preference: Option<String>,
    probability: f64,
}

/// The rewards of a group of responses.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rewards {
    /// The reward of each response; null where there is none.
    pub(crate) rewards: Vec<Option<f64>>,
}

/// The answer to `ask`; `None` if there is none of this form.
pub(crate) fn answer<T: for<'a> Deserialize<'a>>(answers: &Answers, ask: &Ask) -> Option<T> {
    T::deserialize(answers.get(ask)?.as_ref().ok()?).ok()
}

fn side(text: &str) -> Option<Preference> {
    [Preference::First, Preference::Second, Preference::Tie].into_iter().find(|side| side.as_str() == text)
}

/// How favourable the body of an answer is to the response at `place`, from 0 (against it) to 1: its expected score
/// as a fraction of the scale, from the worst score to the best, or (1 + p - q) / 2 for a pair, where p is the
/// probability that it is better, and q that the other one is.
pub fn standing(answer: &Value, place: usize) -> Option<f64> {
    Verdict::deserialize(answer).ok()?.standing(place)
}

impl Verdict {
    fn standing(&self, place: usize) -> Option<f64> {
        if let (Some(score), Some((scale, _))) = (self.expected(), self.scale()) {
            return Some(scale.goodness(score));
        }
        let of = |wanted: Preference| -> Option<f64> {
            let all = &self.distribution.as_ref()?.probabilities;
            let same = |found: &&Probability| found.preference.as_deref().and_then(side) == Some(wanted);
            Some(all.iter().filter(same).map(|found| found.probability).sum())
        };
        let first = of(Preference::First)? - of(Preference::Second)?;
        Some(f64::midpoint(1.0, if place == 0 { first } else { -first }))
    }

    /// The better response.
    pub(crate) fn preference(&self) -> Option<Preference> {
        side(self.preference.as_deref()?)
    }

    /// The scale, and the distance between neighbouring scores.
    pub(crate) fn scale(&self) -> Option<(ReferenceScale, f64)> {
        let Scale { min, max, step, direction } = self.scale?;
        Some((ReferenceScale { min, max, direction: Some(direction) }, step))
    }

    /// The mean of all scores, weighted by their probabilities.
    pub(crate) fn expected(&self) -> Option<f64> {
        self.distribution.as_ref()?.expected_score
    }

    /// The probability of the verdict.
    pub(crate) fn confidence(&self) -> Option<f64> {
        let said = self.preference();
        let same = |found: &&Probability| match (self.score, said) {
            (Some(score), _) => found.score == Some(score),
            (None, Some(_)) => found.preference.as_deref().and_then(side) == said,
            (None, None) => false,
        };
        let found: Vec<f64> = self
            .distribution
            .as_ref()?
            .probabilities
            .iter()
            .filter(same)
            .map(|found| found.probability)
            .collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>().clamp(0.0, 1.0))
    }

    /// The verdicts on the responses in the given and in the reversed order; `None` unless both were requested.
    pub(crate) fn orders(&self) -> Option<[&Self; 2]> {
        let [given, turned] = self.orders.as_deref()? else { return None };
        Some([given, turned])
    }
}
