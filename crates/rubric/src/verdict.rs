//! What a critic decided, and the ways in which its text can fail to say so.

use crate::Scale;

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

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// A score on the rubric's scale.
    Score(f64),
    /// A preference between two responses.
    Preference(Preference),
}

/// A decision and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The decision.
    pub outcome: Outcome,
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
    /// The score is none of the scale's.
    #[error("the critic's score {found} is not on the scale from {} to {} in steps of {}", scale.min, scale.max, scale.step)]
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
