//! The places and formats in which critics write their decision: the instructions that ask for them, and the texts.

mod instruction;
mod label;

use serde::{Deserialize, Serialize};

use crate::Kind;
pub(crate) use label::{Decision, GRADES, Notation};

/// The place and format in which a critic writes its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// The first line is `Score: N`; the justification follows.
    ScoreLine,
    /// The first line begins with a number and holds nothing else, or continues in words; the justification follows
    /// the number.
    NumberLine,
    /// `Score: [N]` anywhere in the text, with or without the brackets; the whole text is the justification.
    BracketedScore,
    /// `Rating: N` anywhere in the text; the whole text is the justification.
    Rating,
    /// `Final Score: N` anywhere in the text, usually in the last line; the whole text is the justification.
    FinalScore,
    /// A JSON object with a number `score`, anywhere in the text; the whole text is the justification.
    JsonScore,
    /// The first line is `Better: 1`, `Better: 2` or `Better: tie`; the justification follows.
    BetterLine,
    /// The first line holds two numbers, the scores of the first and the second response; the justification
    /// follows.
    TwoScoresLine,
    /// `The better response: [first]` or another label, or the sentence that both are equally good, anywhere in the
    /// text; the whole text is the justification. A text with neither is searched for other wordings of a
    /// preference.
    BracketedPreference,
    /// `[[A]]`, `[[B]]`, or `[[C]]` for a tie, anywhere in the text; the whole text is the justification.
    ThreeWay,
    /// One of `[[A>>B]]`, `[[A>B]]`, `[[A=B]]`, `[[B>A]]` and `[[B>>A]]`, anywhere in the text; the whole text is
    /// the justification.
    FiveWay,
    /// `Answer 1 is better`, `Response 2 is better` or `Tie` as a sentence of its own; the whole text is the
    /// justification.
    AnswerSentence,
    /// `<think>…</think><answer>Answer 1 is better</answer>`, without ties; the text between the think tags is the
    /// justification.
    ThinkAnswer,
    /// A number computed by the critic's reward head, without a scale. The text that the critic writes before it is
    /// the justification.
    Scalar,
}

/// The formats of a first line that holds the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstLine {
    /// `Score: N`.
    Score,
    /// `N`, alone or followed by words.
    Number,
    /// `Better: 1`, `Better: 2` or `Better: tie`.
    Better,
    /// `N N`.
    TwoScores,
}

impl AnswerForm {
    /// All answer forms.
    pub const ALL: [Self; 14] = [
        Self::ScoreLine,
        Self::NumberLine,
        Self::BracketedScore,
        Self::Rating,
        Self::FinalScore,
        Self::JsonScore,
        Self::BetterLine,
        Self::TwoScoresLine,
        Self::BracketedPreference,
        Self::ThreeWay,
        Self::FiveWay,
        Self::AnswerSentence,
        Self::ThinkAnswer,
        Self::Scalar,
    ];

    /// Whether the decision is the first thing that the critic writes.
    pub fn decides_first(self) -> bool {
        self.first_line().is_some()
    }

    /// The format of the first line; `None` for forms whose decision is elsewhere in the text.
    pub(crate) fn first_line(self) -> Option<FirstLine> {
        match self {
            Self::ScoreLine => Some(FirstLine::Score),
            Self::NumberLine => Some(FirstLine::Number),
            Self::BetterLine => Some(FirstLine::Better),
            Self::TwoScoresLine => Some(FirstLine::TwoScores),
            Self::BracketedScore
            | Self::Rating
            | Self::FinalScore
            | Self::JsonScore
            | Self::BracketedPreference
            | Self::ThreeWay
            | Self::FiveWay
            | Self::AnswerSentence
            | Self::ThinkAnswer
            | Self::Scalar => None,
        }
    }

    /// Whether this form scores one response or compares two.
    pub fn kind(self) -> Kind {
        match self.decision() {
            Decision::Score | Decision::Head => Kind::Pointwise,
            Decision::TwoScores | Decision::Preference { .. } | Decision::Grade => Kind::Pairwise,
        }
    }

    /// Whether the decision consists of scores on the rubric's scale.
    pub(crate) fn needs_scale(self) -> bool {
        matches!(self.decision(), Decision::Score | Decision::TwoScores)
    }
}
