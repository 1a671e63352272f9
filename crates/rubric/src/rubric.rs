//! By what measure a case is judged.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{AnswerForm, Choices, RubricError};

/// How many responses a judgement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One response gets a score.
    Pointwise,
    /// The better of two responses is named.
    Pairwise,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pointwise => "pointwise",
            Self::Pairwise => "pairwise",
        })
    }
}

/// The scores that a pointwise judgement may give: `min`, `min + step`, … up to `max`, and what lies between where
/// decimals are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// The worst score.
    pub min: f64,
    /// The best score.
    pub max: f64,
    /// The distance between neighbouring scores.
    #[serde(default = "Scale::default_step")]
    pub step: f64,
    /// Whether a critic may write a score between the steps, as it may where a benchmark's own parser reads any number. What
    /// it chooses among, and whose probabilities are read, are the steps all the same.
    #[serde(default)]
    pub decimals: bool,
}

impl Scale {
    /// The step of a scale that does not give one: whole numbers.
    pub fn default_step() -> f64 {
        1.0
    }

    /// Whether `score` is one of the scores of this scale.
    pub fn contains(&self, score: f64) -> bool {
        score >= self.min && score <= self.max && (self.decimals || self.is_step(score))
    }

    /// Whether `score` is a whole number of steps above the least one.
    fn is_step(&self, score: f64) -> bool {
        let steps = (score - self.min) / self.step;
        (steps - steps.round()).abs() < 1e-6
    }

    /// Where `score` lies between the scale's ends, as 0 to 1.
    pub fn part(&self, score: f64) -> f64 {
        (score - self.min) / (self.max - self.min)
    }

    /// All scores in order, when they are few enough to be listed.
    pub(crate) fn scores(self) -> Option<impl Iterator<Item = f64>> {
        const MOST: f64 = 1000.0;
        let Self { min, max, step, .. } = self;
        let steps = ((max - min) / step).round();
        // Rounded, so that a sum of tenths is written as tenths.
        let score = move |index: u32| ((min + f64::from(index) * step) * 1e6).round() / 1e6;
        (steps <= MOST).then(|| (0..=steps as u32).map(score))
    }

    /// Whether it is one; an error is the key to blame and what is wrong.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let Self { min, max, step, .. } = *self;
        for (key, number) in [("scale.min", min), ("scale.max", max), ("scale.step", step)] {
            if !number.is_finite() {
                return Err((key, "the numbers of the scale must be finite".into()));
            }
        }
        if min >= max {
            return Err(("scale.max", format!("the scale's min {min} must be below its max {max}")));
        }
        // A scale of one score, to which a step that is far too long is rounded, is none.
        if step <= 0.0 || (max - min) / step < 0.5 || !self.is_step(max) {
            let reason = format!("the scale's step {step} must be above 0 and lead from {min} to {max}");
            return Err(("scale.step", reason));
        }
        Ok(())
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max, step, decimals } = self;
        write!(formatter, "from {min} to {max}")?;
        if *decimals { Ok(()) } else { write!(formatter, " in steps of {step}") }
    }
}

/// Which end of a scale is the good one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Higher scores are better.
    #[default]
    Higher,
    /// Lower scores are better, as where faults are counted.
    Lower,
}

impl Direction {
    /// The score as a number that is higher the better the response is.
    pub fn goodness(self, score: f64) -> f64 {
        match self {
            Self::Higher => score,
            Self::Lower => -score,
        }
    }
}

/// Something that a case may lack and a rubric may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseField {
    /// An answer that is known to be right.
    Reference,
    /// What the images show, in words.
    Description,
}

impl CaseField {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Reference, Self::Description];

    /// What it is called in requests and in rubrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Description => "description",
        }
    }
}

impl fmt::Display for CaseField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How a score is had from what the critic thinks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// The one that it writes.
    #[default]
    Written,
    /// The mean of all scores by how probable the critic finds each, which may lie between two of them.
    Expected,
}

/// A measure: criteria in words, and for one response the scale.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rubric {
    /// What requests call it.
    pub name: String,
    /// Raised with every change that changes verdicts.
    pub version: u32,
    /// Whether it scores one response or compares two.
    pub kind: Kind,
    /// One line for people who choose among rubrics.
    pub summary: String,
    /// What the critic is told to look at; empty leaves that to the critic.
    pub criteria: String,
    /// The scores: for one response, or for each of two when the answer is two scores.
    pub scale: Option<Scale>,
    /// Which scores are good.
    #[serde(default)]
    pub direction: Direction,
    /// What a case must have.
    #[serde(default)]
    pub fields: Vec<CaseField>,
    /// How the critic is to answer, where it can be told; else it answers as it was trained.
    pub answer: Option<AnswerForm>,
    /// How the score is had.
    #[serde(default)]
    pub reading: Reading,
}

impl Rubric {
    /// Name of a rubric that a request brings along.
    pub const INLINE: &str = "inline";

    /// A rubric from criteria that a request brings along.
    ///
    /// # Errors
    /// [`RubricError::InvalidRubric`] when the criteria are empty or the scale contradicts itself or the kind.
    pub fn inline(kind: Kind, criteria: String, scale: Option<Scale>) -> Result<Self, RubricError> {
        let rubric = Self {
            name: Self::INLINE.into(),
            version: 0,
            kind,
            summary: String::new(),
            criteria,
            scale,
            direction: Direction::default(),
            fields: Vec::new(),
            answer: None,
            reading: Reading::default(),
        };
        if rubric.criteria.trim().is_empty() {
            let (name, reason) = (rubric.name, "it needs criteria".into());
            return Err(RubricError::InvalidRubric { name, key: "criteria", reason });
        }
        rubric.check().map_err(|(key, reason)| RubricError::InvalidRubric {
            name: Self::INLINE.into(),
            key,
            reason,
        })?;
        Ok(rubric)
    }

    /// Names all that its verdicts depend on: SHA-256 over everything but its name, version and summary.
    pub fn digest(&self) -> [u8; 32] {
        let Self { kind, criteria, scale, direction, fields, answer, reading, .. } = self;
        let steps = scale.map(|Scale { min, max, step, .. }| [min, max, step]);
        // Told only where it is so, so that the names of rubrics that lack it stay what they were.
        let decimals = if scale.is_some_and(|scale| scale.decimals) { " decimals" } else { "" };
        let parts = format!(
            "{kind:?} {criteria:?} {steps:?} {direction:?} {fields:?} {answer:?} {reading:?}{decimals}"
        );
        Sha256::digest(parts).into()
    }

    /// Whether it makes sense; an error is the key to blame and what is wrong.
    fn check(&self) -> Result<(), (&'static str, String)> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// All that makes no sense, each with the key to blame.
    pub(crate) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.name.trim().is_empty() {
            problems.push(("name", "it needs a name".into()));
        }
        let fits = self.answer.is_none_or(|answer| answer.kind() == self.kind);
        if self.answer == Some(AnswerForm::Scalar) {
            problems.push(("answer", "only a critic's profile can answer by a reward head".into()));
        } else if !fits {
            problems.push(("answer", format!("this answer is none of a {} rubric", self.kind)));
        }
        // By an answer of another kind nobody knows whether two responses need a scale.
        let scale = if fits || self.kind == Kind::Pointwise { self.check_scale() } else { Ok(()) };
        // Without a scale nobody knows what can be read by it.
        let read = if scale.is_ok() || self.kind == Kind::Pairwise { self.check_reading() } else { Ok(()) };
        problems.extend([scale, read].into_iter().filter_map(Result::err));
        problems
    }

    fn check_scale(&self) -> Result<(), (&'static str, String)> {
        let two_scores = self.answer.is_some_and(AnswerForm::needs_scale);
        match (self.kind, &self.scale) {
            (Kind::Pointwise, Some(scale)) => scale.check(),
            (Kind::Pairwise, Some(scale)) if two_scores => scale.check(),
            (Kind::Pairwise, None) if !two_scores => Ok(()),
            (Kind::Pointwise, None) => Err(("scale", "a rubric for one response needs a scale".into())),
            (Kind::Pairwise, None) => Err(("scale", "an answer of two scores needs a scale".into())),
            (Kind::Pairwise, Some(_)) => Err(("scale", "a rubric for two responses has no scale".into())),
        }
    }

    fn check_reading(&self) -> Result<(), (&'static str, String)> {
        match (self.reading, self.kind) {
            (Reading::Written, _) => Ok(()),
            (Reading::Expected, Kind::Pairwise) => {
                Err(("reading", "only the score of one response can be an expected one".into()))
            }
            (Reading::Expected, Kind::Pointwise) => match Choices::new(AnswerForm::NumberLine, self) {
                Some(_) => Ok(()),
                None => Err(("reading", "the scale has too many scores for an expected one".into())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Rubric, Scale};

    #[test]
    fn a_scale_holds_its_steps_and_nothing_between() {
        let tenths = Scale { min: 0.0, max: 1.0, step: 0.1, decimals: false };
        assert!([0.0, 0.1, 0.3, 0.7, 1.0].into_iter().all(|score| tenths.contains(score)));
        assert!(![-0.1, 0.05, 1.1, f64::NAN].into_iter().any(|score| tenths.contains(score)));
        assert_eq!(tenths.to_string(), "from 0 to 1 in steps of 0.1");
    }

    #[test]
    fn decimals_lie_between_the_steps_and_within_the_scale() {
        let decimal = Scale { min: 0.0, max: 1.0, step: 0.1, decimals: true };
        assert!([0.0, 0.05, 0.1, 1.0].into_iter().all(|score| decimal.contains(score)));
        assert!(![-0.1, 1.01, f64::NAN, f64::INFINITY].into_iter().any(|score| decimal.contains(score)));
        assert_eq!(decimal.scores().unwrap().count(), 11, "labels are read at the steps");
        assert_eq!(decimal.to_string(), "from 0 to 1");
    }

    #[test]
    fn a_rubric_with_decimals_has_another_name() {
        let rubric = |decimals| {
            let scale = Scale { min: 0.0, max: 10.0, step: 1.0, decimals };
            Rubric::inline(Kind::Pointwise, "Be right.".into(), Some(scale)).unwrap()
        };
        assert_ne!(rubric(false).digest(), rubric(true).digest());
    }

    #[test]
    fn contradictions_in_a_rubric_are_named() {
        for (min, max, step, word) in [
            (5.0, 5.0, 1.0, "below"),
            (0.0, 10.0, 0.0, "step"),
            (0.0, 10.0, 3.0, "step"),
            (0.0, 1e-300, 1.0, "step"),
            (0.0, f64::INFINITY, 1.0, "finite"),
        ] {
            for decimals in [false, true] {
                let scale = Some(Scale { min, max, step, decimals });
                let error =
                    Rubric::inline(Kind::Pointwise, "Be right.".into(), scale).unwrap_err().to_string();
                assert!(error.contains(word), "{error}");
            }
        }
        assert!(Rubric::inline(Kind::Pairwise, "  ".into(), None).is_err());
        assert!(Rubric::inline(Kind::Pairwise, "Be right.".into(), None).is_ok());
        assert!(Rubric::inline(Kind::Pointwise, "Be right.".into(), None).is_err());
    }
}
