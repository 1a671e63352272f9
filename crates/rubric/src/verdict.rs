//! The decisions of a critic, and the errors of reading them from its text.

use serde::Serialize;

use crate::{Direction, Scale};

/// Which of two responses is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Preference {
    /// The first response.
    First,
    /// The second response.
    Second,
    /// Neither, as they are equally good.
    Tie,
}

impl Preference {
    /// The preference after the responses are swapped.
    pub fn turned(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Tie => Self::Tie,
        }
    }

    /// The name: `first`, `second` or `tie`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Tie => "tie",
        }
    }
}

/// Which of two responses is better and by how much, in five grades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// The first response is better by far.
    FirstByFar,
    /// The first response is slightly better.
    First,
    /// Both are equally good.
    Tie,
    /// The second response is slightly better.
    Second,
    /// The second response is better by far.
    SecondByFar,
}

impl Grade {
    /// The preference without its strength.
    pub fn preference(self) -> Preference {
        match self {
            Self::FirstByFar | Self::First => Preference::First,
            Self::Tie => Preference::Tie,
            Self::Second | Self::SecondByFar => Preference::Second,
        }
    }

    /// The strength of the preference; `None` for a tie.
    pub fn strength(self) -> Option<Strength> {
        match self {
            Self::FirstByFar | Self::SecondByFar => Some(Strength::ByFar),
            Self::First | Self::Second => Some(Strength::Slight),
            Self::Tie => None,
        }
    }
}

/// The strength of a preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// Slightly better.
    Slight,
    /// Better by far.
    ByFar,
}

impl Strength {
    /// The name: `slight` or `by_far`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slight => "slight",
            Self::ByFar => "by_far",
        }
    }
}

/// The scores of two responses. The preference is derived from them, so that both cannot contradict each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScorePair {
    first: f64,
    second: f64,
    direction: Direction,
}

impl ScorePair {
    /// A pair of scores on a scale with the given direction.
    pub fn new(first: f64, second: f64, direction: Direction) -> Self {
        Self { first, second, direction }
    }

    /// The scores of the first and the second response.
    pub fn scores(self) -> [f64; 2] {
        [self.first, self.second]
    }

    /// The lead of the second response over the first, in points of the scale; negative if the first is better.
    pub fn advantage(self) -> f64 {
        let [first, second] = self.scores().map(|score| self.direction.goodness(score));
        second - first
    }

    /// Which response has the better score.
    pub fn preference(self) -> Preference {
        let advantage = self.advantage();
        if advantage < 0.0 {
            Preference::First
        } else if advantage > 0.0 {
            Preference::Second
        } else {
            Preference::Tie
        }
    }
}

/// A decision of the critic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// A score on the rubric's scale.
    Score(f64),
    /// A preference between two responses.
    Preference(Preference),
    /// A preference between two responses and its strength.
    Grade(Grade),
    /// A score for each of two responses.
    Scores(ScorePair),
}

impl Outcome {
    /// The preference between two responses, in any of the pairwise variants; `None` for a single score.
    pub fn preference(self) -> Option<Preference> {
        match self {
            Self::Score(_) => None,
            Self::Preference(preference) => Some(preference),
            Self::Grade(grade) => Some(grade.preference()),
            Self::Scores(pair) => Some(pair.preference()),
        }
    }
}

/// How certain it is that a decision is the one that the critic meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// The decision is written in the requested form.
    Stated,
    /// Nothing is written in the requested form; the decision is inferred from other words that the critic may have
    /// meant as a verdict.
    Fallback,
}

/// A decision and its justification.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The decision.
    pub outcome: Outcome,
    /// How certain it is that the critic meant this decision.
    pub confidence: Confidence,
    /// The critic's reasons, without leading and trailing white space; empty when it gave none.
    pub justification: String,
}

/// Why a critic's text has no valid verdict. An error never becomes a default score or a tie.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VerdictError {
    /// The text has no verdict in the form that this critic uses.
    #[error("the critic's text has no verdict")]
    Missing,
    /// The text has several contradictory verdicts.
    #[error("the critic's text has verdicts that contradict each other: {0}")]
    Conflicting(String),
    /// The text has something invalid in the place of a verdict: a range, an unknown label or invalid JSON.
    #[error("what the critic's text has for a verdict cannot be read: {0}")]
    Malformed(String),
    /// The score is not on the scale, or is given out of another maximum.
    #[error("the critic's score {found} is not on the scale {scale}")]
    OutOfScale {
        /// The score as it was written.
        found: String,
        /// The scale of the rubric.
        scale: Scale,
    },
    /// The text was cut off by the token limit before a complete verdict.
    #[error("the critic's text was cut by its token limit before a verdict")]
    Truncated,
}
