//! What a critic decided, and the ways in which its text can fail to say so.

use crate::{Direction, Scale};

/// Which of two responses is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// The first response.
    First,
    /// The second response.
    Second,
    /// Neither: they are equally good.
    Tie,
}

impl Preference {
    /// The same when the responses change places.
    pub fn turned(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Tie => Self::Tie,
        }
    }

    /// The word for it: `first`, `second` or `tie`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Tie => "tie",
        }
    }
}

/// Which of two responses is better, and by how much, in five steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// The first response by far.
    FirstByFar,
    /// The first response by a little.
    First,
    /// Neither.
    Tie,
    /// The second response by a little.
    Second,
    /// The second response by far.
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

    /// How strong the preference is; `None` for a tie, which has no strength.
    pub fn strength(self) -> Option<Strength> {
        match self {
            Self::FirstByFar | Self::SecondByFar => Some(Strength::ByFar),
            Self::First | Self::Second => Some(Strength::Slight),
            Self::Tie => None,
        }
    }
}

/// How strong a preference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// A little.
    Slight,
    /// By far.
    ByFar,
}

impl Strength {
    /// The word for it: `slight` or `by_far`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slight => "slight",
            Self::ByFar => "by_far",
        }
    }
}

/// The scores of two responses. Which is better follows from them, so that they cannot contradict it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScorePair {
    first: f64,
    second: f64,
    direction: Direction,
}

impl ScorePair {
    /// Scores of the first and the second response, the better being where `direction` says.
    pub fn new(first: f64, second: f64, direction: Direction) -> Self {
        Self { first, second, direction }
    }

    /// The scores of the first and the second response.
    pub fn scores(self) -> [f64; 2] {
        [self.first, self.second]
    }

    /// By how much the score of the second response is better, in points of the scale.
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

/// The decision.
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
    /// The preference between two responses, however it was told; `None` for the score of one.
    pub fn preference(self) -> Option<Preference> {
        match self {
            Self::Score(_) => None,
            Self::Preference(preference) => Some(preference),
            Self::Grade(grade) => Some(grade.preference()),
            Self::Scores(pair) => Some(pair.preference()),
        }
    }
}

/// How sure it is that a decision is the one which the critic meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// It stands in the form that was asked for.
    Stated,
    /// Nothing stands in that form. It is taken from words that the critic may have meant for a verdict.
    Fallback,
}

/// A decision and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The decision.
    pub outcome: Outcome,
    /// How sure it is that the critic meant it.
    pub confidence: Confidence,
    /// The critic's reasons, without white space at either end; empty when it gave none.
    pub justification: String,
}

/// Why a critic's text is no verdict. A failure is never turned into some default score or a tie.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VerdictError {
    /// The text has no verdict in the form that this critic uses.
    #[error("the critic's text has no verdict")]
    Missing,
    /// The text has several verdicts that differ.
    #[error("the critic's text has verdicts that contradict each other: {0}")]
    Conflicting(String),
    /// What stands in the place of a verdict is none: a range, a label that does not exist, JSON with an error.
    #[error("what the critic's text has for a verdict cannot be read: {0}")]
    Malformed(String),
    /// The score is none of the scale's.
    #[error("the critic's score {found} is not on the scale {scale}")]
    OutOfScale {
        /// The score as it was written.
        found: String,
        /// The scale that was asked for.
        scale: Scale,
    },
    /// The text was cut by its token limit before a whole verdict.
    #[error("the critic's text was cut by its token limit before a verdict")]
    Truncated,
}
