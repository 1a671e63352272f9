//! The criteria and the scale by which a case is judged.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{AnswerForm, Choices, RubricError, problem::KeyProblem};

/// The kind of a judgement, by the number of responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One response is scored.
    Pointwise,
    /// Two responses are compared.
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

/// The valid scores: `min`, `min + step`, … up to `max`, and with `decimals` also the numbers between them.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// The lowest score.
    pub min: f64,
    /// The highest score.
    pub max: f64,
    /// The distance between neighbouring scores.
    #[serde(default = "Scale::default_step")]
    pub step: f64,
    /// Whether a critic may write a score between the steps, for benchmarks whose own parser accepts any number.
    /// The labels whose probabilities are read are still the steps.
    #[serde(default)]
    pub decimals: bool,
}

impl Scale {
    /// The default step: whole numbers.
    pub fn default_step() -> f64 {
        1.0
    }

    /// Whether `score` is a valid score.
    pub fn contains(&self, score: f64) -> bool {
        score >= self.min && score <= self.max && (self.decimals || self.is_step(score))
    }

    /// Whether `score` is a whole number of steps above `min`.
    fn is_step(&self, score: f64) -> bool {
        let nearest = self.min + ((score - self.min) / self.step).round() * self.step;
        // Scores are written with six decimals.
        (score - nearest).abs() <= 1e-6_f64.min(self.step * 1e-3)
    }

    /// The position of `score` between `min` (0) and `max` (1).
    pub fn part(&self, score: f64) -> f64 {
        (score - self.min) / (self.max - self.min)
    }

    /// All scores at the steps in ascending order; `None` when the scale has more than 1000 steps.
    pub(crate) fn scores(self) -> Option<impl Iterator<Item = f64>> {
        const MOST: f64 = 1000.0;
        let Self { min, max, step, .. } = self;
        let steps = ((max - min) / step).round();
        // Rounded to 1e-6, so that multiples of 0.1 are printed without rounding errors; and no 0 is negative.
        let score = move |index: u32| ((min + f64::from(index) * step) * 1e6).round() / 1e6 + 0.0;
        (steps <= MOST).then(|| (0..=steps as u32).map(score))
    }

    /// All numbers of the scale that a critic may be expected to write, as texts, with "8", "8.0" and "8.00" among them:
    /// they have up to two decimals, or one more than its steps have. A long scale has fewer; `None` when one decimal
    /// more than the steps have makes more than 2000 numbers.
    pub(crate) fn decimal_numbers(self) -> Option<Vec<String>> {
        const MOST: f64 = 2000.0;
        let in_units = |number: f64, decimals: i32| number * 10f64.powi(decimals);
        let is_whole = |number: f64| (number - number.round()).abs() < 1e-6;
        // Scores are written with six decimals.
        let of_steps = (0..6).find(|decimals| {
            [self.min, self.step].iter().all(|number| is_whole(in_units(*number, *decimals)))
        })?;
        // All numbers with so many decimals, in units of the last one. An end that has more decimals may be rounded to
        // a number off the scale.
        let ends = |decimals: i32| [self.min, self.max].map(|end| in_units(end, decimals).round());
        let count = |decimals: i32| ends(decimals)[1] - ends(decimals)[0] + 1.0;
        let fits = |most: &i32| (0..=*most).map(count).sum::<f64>() <= MOST;
        let most = (of_steps + 1..=2.max(of_steps + 1)).rev().find(fits)?;
        let with_decimals = |decimals: i32| {
            let [first, last] = ends(decimals).map(|end| end as i64);
            let numbers = (first..=last).map(move |number| number as f64 / 10f64.powi(decimals));
            let numbers = numbers.filter(move |number| self.contains(*number));
            numbers.map(move |number| format!("{number:.*}", decimals as usize))
        };
        Some((0..=most).flat_map(with_decimals).collect())
    }

    /// Checks that the numbers are finite and that the steps lead from `min` to `max`.
    fn check(&self) -> Result<(), KeyProblem<&'static str>> {
        let Self { min, max, step, .. } = *self;
        for (key, number) in [("scale.min", min), ("scale.max", max), ("scale.step", step)] {
            if !number.is_finite() {
                return Err(KeyProblem::new(key, "the numbers of the scale must be finite"));
            }
        }
        if min >= max {
            let reason = format!("the scale's min {min} must be below its max {max}");
            return Err(KeyProblem::new("scale.max", reason));
        }
        // A step far longer than the scale would pass `is_step` as zero steps, which would leave a single score.
        if step <= 0.0 || (max - min) / step < 0.5 || !self.is_step(max) {
            let reason = format!("the scale's step {step} must be above 0 and lead from {min} to {max}");
            return Err(KeyProblem::new("scale.step", reason));
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

/// Which end of a scale is the better one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Higher scores are better.
    #[default]
    Higher,
    /// Lower scores are better, as when errors are counted.
    Lower,
}

impl Direction {
    /// The position of a score on its scale, counted from the worse end: 0 is the worst, 1 the best. `part` is counted
    /// from the lowest score.
    pub fn part_from_worst(self, part: f64) -> f64 {
        match self {
            Self::Higher => part,
            Self::Lower => 1.0 - part,
        }
    }

    /// The score, negated if needed, so that a higher number is always better.
    pub fn goodness(self, score: f64) -> f64 {
        match self {
            Self::Higher => score,
            Self::Lower => -score,
        }
    }
}

/// An optional field of a case that a rubric may require.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseField {
    /// An answer known to be right.
    Reference,
    /// A description of the images in words.
    Description,
}

impl CaseField {
    /// All fields.
    pub const ALL: [Self; 2] = [Self::Reference, Self::Description];

    /// The name of the field in requests and rubrics.
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

/// How a score is obtained from the critic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// The score that the critic writes.
    #[default]
    Written,
    /// The mean of all scores, weighted by the critic's probabilities; it may lie between two steps. A verdict that is
    /// drawn at a temperature has the score that was drawn instead, so that several samples vary.
    Expected,
}

/// A rubric: criteria in words, and the scale of scores.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rubric {
    /// The name by which requests select the rubric.
    pub name: String,
    /// Incremented with every change that affects verdicts.
    pub version: u32,
    /// Whether it scores one response or compares two.
    pub kind: Kind,
    /// One line for people who choose among rubrics.
    pub summary: String,
    /// The criteria in the critic's prompt; if empty, the critic applies its own.
    pub criteria: String,
    /// The scale of the score, or of both scores when the answer is two scores; `None` for other comparisons.
    pub scale: Option<Scale>,
    /// Which end of the scale is better.
    #[serde(default)]
    pub direction: Direction,
    /// The optional fields that a case must have.
    #[serde(default)]
    pub fields: Vec<CaseField>,
    /// The requested form of the answer, for critics that follow instructions; otherwise the form on which the
    /// critic was trained.
    pub answer: Option<AnswerForm>,
    /// How the score is obtained.
    #[serde(default)]
    pub reading: Reading,
}

/// The fields of a rubric on which verdicts depend, in the order in which they are digested.
#[derive(Serialize)]
struct RubricContent<'a> {
    kind: Kind,
    criteria: &'a str,
    scale: Option<Scale>,
    direction: Direction,
    fields: &'a [CaseField],
    answer: Option<AnswerForm>,
    reading: Reading,
}

impl Rubric {
    /// The name of a rubric whose criteria are part of the request.
    pub const INLINE: &str = "inline";

    /// A rubric from criteria that are part of a request.
    ///
    /// # Errors
    /// [`RubricError::InvalidRubric`] when the criteria are blank, or the scale is invalid or does not fit the
    /// kind.
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
        match rubric.problems().into_iter().next() {
            Some(KeyProblem { key, reason }) => {
                Err(RubricError::InvalidRubric { name: rubric.name, key, reason })
            }
            None => Ok(rubric),
        }
    }

    /// A digest of everything on which verdicts depend: SHA-256 over all fields but name, version and summary, as JSON
    /// with the keys and values of rubric files. Clients keep it, so it must not depend on names in this code.
    pub fn digest(&self) -> [u8; 32] {
        // Every field by name, so that this does not compile until it is decided whether a new one belongs here.
        let Self {
            name: _,
            version: _,
            summary: _,
            kind,
            criteria,
            scale,
            direction,
            fields,
            answer,
            reading,
        } = self;
        let content = RubricContent {
            kind: *kind,
            criteria,
            scale: *scale,
            direction: *direction,
            fields,
            answer: *answer,
            reading: *reading,
        };
        let json = serde_json::to_vec(&content).expect("names, texts and numbers can be written as JSON");
        Sha256::digest(json).into()
    }

    /// All problems of the rubric.
    pub(crate) fn problems(&self) -> Vec<KeyProblem<&'static str>> {
        let mut problems = Vec::new();
        if self.name.trim().is_empty() {
            problems.push(KeyProblem::new("name", "it needs a name"));
        }
        let fits = self.answer.is_none_or(|answer| answer.kind() == self.kind);
        if self.answer == Some(AnswerForm::Scalar) {
            problems.push(KeyProblem::new("answer", "only a critic's profile can answer by a reward head"));
        } else if !fits {
            let reason = format!("this answer is none of a {} rubric", self.kind);
            problems.push(KeyProblem::new("answer", reason));
        }
        // With an answer of the wrong kind, it is unknown whether a pairwise rubric needs a scale.
        let scale = if fits || self.kind == Kind::Pointwise { self.check_scale() } else { Ok(()) };
        // A pointwise reading cannot be checked without a valid scale.
        let read = if scale.is_ok() || self.kind == Kind::Pairwise { self.check_reading() } else { Ok(()) };
        problems.extend([scale, read].into_iter().filter_map(Result::err));
        problems
    }

    fn check_scale(&self) -> Result<(), KeyProblem<&'static str>> {
        let two_scores = self.answer.is_some_and(AnswerForm::needs_scale);
        let wrong = |reason: &str| Err(KeyProblem::new("scale", reason));
        match (self.kind, &self.scale) {
            (Kind::Pointwise, Some(scale)) => scale.check(),
            (Kind::Pairwise, Some(scale)) if two_scores => scale.check(),
            (Kind::Pairwise, None) if !two_scores => Ok(()),
            (Kind::Pointwise, None) => wrong("a rubric for one response needs a scale"),
            (Kind::Pairwise, None) => wrong("an answer of two scores needs a scale"),
            (Kind::Pairwise, Some(_)) => wrong("a rubric for two responses has no scale"),
        }
    }

    fn check_reading(&self) -> Result<(), KeyProblem<&'static str>> {
        let wrong = |reason: &str| Err(KeyProblem::new("reading", reason));
        match (self.reading, self.kind) {
            (Reading::Written, _) => Ok(()),
            (Reading::Expected, Kind::Pairwise) => {
                wrong("only the score of one response can be an expected one")
            }
            (Reading::Expected, Kind::Pointwise) => match Choices::new(AnswerForm::NumberLine, self) {
                Some(_) => Ok(()),
                None => wrong("the scale has too many scores for an expected one"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::{AnswerForm, CaseField, Direction, Kind, Reading, Rubric, Scale};

    #[test]
    fn a_scale_holds_its_steps_and_nothing_between() {
        let tenths = Scale { min: 0.0, max: 1.0, step: 0.1, decimals: false };
        assert!([0.0, 0.1, 0.3, 0.7, 1.0].into_iter().all(|score| tenths.contains(score)));
        assert!(![-0.1, 0.05, 1.1, f64::NAN].into_iter().any(|score| tenths.contains(score)));
        assert_eq!(tenths.to_string(), "from 0 to 1 in steps of 0.1");
        let thirds = Scale { step: 1.0 / 3.0, ..tenths };
        assert!(thirds.scores().unwrap().all(|score| thirds.contains(score)), "as they are written");
        assert!(!thirds.contains(0.3334));
        for (least, step) in [(-0.9, 0.3), (-1.8, 0.6)] {
            let around = Scale { min: least, max: -least, step, decimals: false };
            assert!(around.scores().unwrap().all(|score| score.to_string() != "-0"));
        }
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
    fn numbers_have_more_decimals_than_the_steps_on_a_scale_that_is_short_enough() {
        let scale = |min: f64, max: f64, step: f64| Scale { min, max, step, decimals: true };
        let has = |scale: Scale, number: &str| scale.decimal_numbers().unwrap().contains(&number.to_owned());
        let ten = scale(1.0, 10.0, 1.0);
        assert!(
            ["1", "1.0", "1.00", "8.5", "8.25", "9.99", "10", "10.00"].into_iter().all(|text| has(ten, text))
        );
        assert!(!["0.99", "10.01", "8.125", "01"].into_iter().any(|text| has(ten, text)));
        assert_eq!(ten.decimal_numbers().unwrap().len(), 10 + 91 + 901);
        let unit = scale(0.0, 1.0, 0.1);
        assert!(["0", "0.3", "0.35", "1.0"].into_iter().all(|text| has(unit, text)));
        let quarters = scale(-0.5, 0.5, 0.25);
        assert!(["-0.5", "-0.125", "0", "0.500"].into_iter().all(|text| has(quarters, text)));
        assert!(!["-1", "1", "-0", "-0.0"].into_iter().any(|text| has(quarters, text)));
        let percent = scale(0.0, 100.0, 1.0);
        assert!(has(percent, "87.5") && !has(percent, "87.25"));
        for too_many in [scale(0.0, 1000.0, 1.0), scale(0.0, 1.0, 1.0 / 3.0), scale(1e9, 1e9 + 500.0, 1.0)] {
            assert_eq!(too_many.decimal_numbers(), None);
        }
        assert!(has(scale(1e12, 1e12 + 2.0, 1.0), "1000000000001.5"));
    }

    /// Clients compare digests of servers of different versions: a change here makes their receipts invalid.
    #[test]
    fn the_digest_of_a_rubric_is_that_of_its_content_as_json() {
        const SCORED: &str = concat!(
            r#"{"kind":"pointwise","criteria":"Be \"right\".","#,
            r#""scale":{"min":0.0,"max":1.0,"step":0.25,"decimals":true},"#,
        );
        let scale = Scale { min: 0.0, max: 1.0, step: 0.25, decimals: true };
        let plain = Rubric::inline(Kind::Pointwise, "Be \"right\".".into(), Some(scale)).unwrap();
        let full = Rubric {
            direction: Direction::Lower,
            fields: vec![CaseField::Reference],
            answer: Some(AnswerForm::ScoreLine),
            reading: Reading::Expected,
            ..plain.clone()
        };
        let pair = Rubric::inline(Kind::Pairwise, "Be right.".into(), None).unwrap();
        let defaults = r#""direction":"higher","fields":[],"answer":null,"reading":"written"}"#;
        let settings =
            r#""direction":"lower","fields":["reference"],"answer":"score_line","reading":"expected"}"#;
        let compared = r#"{"kind":"pairwise","criteria":"Be right.","scale":null,"#;
        for (rubric, [one, other]) in
            [(plain, [SCORED, defaults]), (full, [SCORED, settings]), (pair, [compared, defaults])]
        {
            let content = format!("{one}{other}");
            assert_eq!(rubric.digest(), <[u8; 32]>::from(Sha256::digest(&content)), "{content}");
        }
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
