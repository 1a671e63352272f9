//! A verdict as one line of text, for people.

use std::fmt;

use judge::{Judgement, Outcome, Preference};
use serde::Deserialize;

/// The parts of a verdict that the line shows, with the names that they have in the body of a response.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct VerdictLine {
    score: Option<f64>,
    scores: Option<[f64; 2]>,
    preference: Option<String>,
    strength: Option<String>,
    scale: Option<Ends>,
    rubric: String,
}

/// The ends of a scale.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Ends {
    min: f64,
    max: f64,
}

impl From<&Judgement> for VerdictLine {
    fn from(judgement: &Judgement) -> Self {
        let Judgement { verdict, rubric, scale, .. } = judgement;
        let line = Self {
            preference: verdict.outcome.preference().map(Preference::as_str).map(str::to_owned),
            scale: scale.map(|scale| Ends { min: scale.min, max: scale.max }),
            rubric: rubric.clone(),
            ..Self::default()
        };
        match verdict.outcome {
            Outcome::Score(score) => Self { score: Some(score), ..line },
            Outcome::Preference(_) => line,
            Outcome::Grade(grade) => {
                Self { strength: grade.strength().map(|strength| strength.as_str().to_owned()), ..line }
            }
            Outcome::Scores(pair) => Self { scores: Some(pair.scores()), ..line },
        }
    }
}

impl fmt::Display for VerdictLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { score, scores, preference, strength, scale, rubric } = self;
        let better = preference.as_deref().unwrap_or_default();
        match (score, scale, scores, strength) {
            (Some(score), Some(Ends { min, max }), _, _) => {
                write!(formatter, "Score: {score} (from {min} to {max}, rubric {rubric})")
            }
            (Some(score), None, _, _) => write!(formatter, "Score: {score} (rubric {rubric})"),
            (None, _, Some([first, second]), _) => {
                write!(formatter, "Better: {better} (scores {first} and {second}, rubric {rubric})")
            }
            (None, _, None, Some(strength)) => {
                write!(formatter, "Better: {better} ({strength}) (rubric {rubric})")
            }
            (None, _, None, None) => write!(formatter, "Better: {better} (rubric {rubric})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_of_answers_are_told_in_a_line() {
        for (body, line) in [
            (
                json!({ "score": 7.0, "scale": { "min": 1.0, "max": 10.0, "step": 1.0 }, "rubric": "r", "kind": "pointwise" }),
                "Score: 7 (from 1 to 10, rubric r)",
            ),
            (json!({ "preference": "tie", "rubric": "r" }), "Better: tie (rubric r)"),
            (
                json!({ "preference": "first", "strength": "by_far", "rubric": "r" }),
                "Better: first (by_far) (rubric r)",
            ),
            (
                json!({ "preference": "second", "scores": [1.0, 2.5], "scale": { "min": 0.0, "max": 5.0 }, "rubric": "r" }),
                "Better: second (scores 1 and 2.5, rubric r)",
            ),
        ] {
            assert_eq!(VerdictLine::deserialize(&body).unwrap().to_string(), line);
        }
    }
}
