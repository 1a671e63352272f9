//! What a critic answered, as far as figures need it.

use std::collections::BTreeMap;

use rubric::Preference;
use serde::Deserialize;
use serde_json::Value;

use crate::{Ask, ReferenceScale};

/// What became of a request: the body of its answer, or why there is none.
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

/// Rewards of a group.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rewards {
    pub(crate) rewards: Vec<Option<f64>>,
    pub(crate) ranking: Vec<usize>,
}

/// The answer to `ask`, when there is one that can be read.
pub(crate) fn answer<T: for<'a> Deserialize<'a>>(answers: &Answers, ask: &Ask) -> Option<T> {
    T::deserialize(answers.get(ask)?.as_ref().ok()?).ok()
}

fn side(text: &str) -> Option<Preference> {
    [Preference::First, Preference::Second, Preference::Tie].into_iter().find(|side| side.as_str() == text)
}

/// Where the critic stands towards the response at `place`, from 0, against it, to 1, by the body of an answer: its expected
/// score as a part of the scale, or of a pair by how much more probable it is than the other one.
pub fn standing(answer: &Value, place: usize) -> Option<f64> {
    Verdict::deserialize(answer).ok()?.standing(place)
}

impl Verdict {
    fn standing(&self, place: usize) -> Option<f64> {
        if let (Some(score), Some((scale, _))) = (self.expected(), self.scale()) {
            return Some(scale.part(score));
        }
        let of = |wanted: Preference| -> Option<f64> {
            let all = &self.distribution.as_ref()?.probabilities;
            let same = |found: &&Probability| found.preference.as_deref().and_then(side) == Some(wanted);
            Some(all.iter().filter(same).map(|found| found.probability).sum())
        };
        let first = of(Preference::First)? - of(Preference::Second)?;
        Some(f64::midpoint(1.0, if place == 0 { first } else { -first }))
    }

    /// Which response is better.
    pub(crate) fn preference(&self) -> Option<Preference> {
        side(self.preference.as_deref()?)
    }

    /// The scale and the distance of its neighbouring scores.
    pub(crate) fn scale(&self) -> Option<(ReferenceScale, f64)> {
        let Scale { min, max, step } = self.scale?;
        Some((ReferenceScale { min, max }, step))
    }

    /// The mean of the scores by their probabilities.
    pub(crate) fn expected(&self) -> Option<f64> {
        self.distribution.as_ref()?.expected_score
    }

    /// The probability of what was decided.
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

    /// The verdicts on the responses as they were given and turned round, when both were asked for.
    pub(crate) fn orders(&self) -> Option<[&Self; 2]> {
        let [given, turned] = self.orders.as_deref()? else { return None };
        Some([given, turned])
    }
}
