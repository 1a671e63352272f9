//! By what measure a case is judged.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::RubricError;

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

/// The scores that a pointwise judgement may give: `min`, `min + step`, … up to `max`.
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
}

impl Scale {
    /// The step of a scale that does not give one: whole numbers.
    pub fn default_step() -> f64 {
        1.0
    }

    /// Whether `score` is one of the scores of this scale.
    pub fn contains(&self, score: f64) -> bool {
        let steps = (score - self.min) / self.step;
        score >= self.min && score <= self.max && (steps - steps.round()).abs() < 1e-6
    }

    /// All scores in order, when they are few enough to be listed.
    pub(crate) fn scores(self) -> Option<impl Iterator<Item = f64>> {
        const MOST: f64 = 1000.0;
        let Self { min, max, step } = self;
        let steps = ((max - min) / step).round();
        // Rounded, so that a sum of tenths is written as tenths.
        let score = move |index: u32| ((min + f64::from(index) * step) * 1e6).round() / 1e6;
        (steps <= MOST).then(|| (0..=steps as u32).map(score))
    }

    fn check(&self) -> Result<(), String> {
        let Self { min, max, step } = *self;
        if ![min, max, step].into_iter().all(f64::is_finite) {
            return Err("the numbers of the scale must be finite".into());
        }
        if min >= max {
            return Err(format!("the scale's min {min} must be below its max {max}"));
        }
        if step <= 0.0 || !self.contains(max) {
            return Err(format!("the scale's step {step} must be above 0 and lead from {min} to {max}"));
        }
        Ok(())
    }
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
    /// The scores, for a pointwise rubric only.
    pub scale: Option<Scale>,
}

impl Rubric {
    /// Name of a rubric that a request brings along.
    pub const INLINE: &str = "inline";

    /// A rubric from criteria that a request brings along.
    ///
    /// # Errors
    /// [`RubricError::InvalidRubric`] when the criteria are empty or the scale contradicts itself or the kind.
    pub fn inline(kind: Kind, criteria: String, scale: Option<Scale>) -> Result<Self, RubricError> {
        let rubric =
            Self { name: Self::INLINE.into(), version: 0, kind, summary: String::new(), criteria, scale };
        if rubric.criteria.trim().is_empty() {
            return Err(RubricError::InvalidRubric { name: rubric.name, reason: "it needs criteria".into() });
        }
        rubric.check()?;
        Ok(rubric)
    }

    pub(crate) fn check(&self) -> Result<(), RubricError> {
        let invalid = |reason: String| RubricError::InvalidRubric { name: self.name.clone(), reason };
        if self.name.trim().is_empty() {
            return Err(invalid("it needs a name".into()));
        }
        match (self.kind, &self.scale) {
            (Kind::Pointwise, Some(scale)) => scale.check().map_err(invalid),
            (Kind::Pairwise, None) => Ok(()),
            (Kind::Pointwise, None) => Err(invalid("a pointwise rubric needs a scale".into())),
            (Kind::Pairwise, Some(_)) => Err(invalid("a pairwise rubric has no scale".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Rubric, Scale};

    #[test]
    fn a_scale_holds_its_steps_and_nothing_between() {
        let tenths = Scale { min: 0.0, max: 1.0, step: 0.1 };
        assert!([0.0, 0.1, 0.3, 0.7, 1.0].into_iter().all(|score| tenths.contains(score)));
        assert!(![-0.1, 0.05, 1.1, f64::NAN].into_iter().any(|score| tenths.contains(score)));
    }

    #[test]
    fn contradictions_in_a_rubric_are_named() {
        for (scale, word) in [
            (Scale { min: 5.0, max: 5.0, step: 1.0 }, "below"),
            (Scale { min: 0.0, max: 10.0, step: 0.0 }, "step"),
            (Scale { min: 0.0, max: 10.0, step: 3.0 }, "step"),
            (Scale { min: 0.0, max: f64::INFINITY, step: 1.0 }, "finite"),
        ] {
            let error =
                Rubric::inline(Kind::Pointwise, "Be right.".into(), Some(scale)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(Rubric::inline(Kind::Pairwise, "  ".into(), None).is_err());
        assert!(Rubric::inline(Kind::Pairwise, "Be right.".into(), None).is_ok());
        assert!(Rubric::inline(Kind::Pointwise, "Be right.".into(), None).is_err());
    }
}
