//! Where and how a critic writes its decision, and the words in which it is told so.

use serde::{Deserialize, Serialize};

use crate::{Direction, Kind, Rubric};

/// Where and how a critic writes its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// The first line is `Score: N`; the justification follows.
    ScoreLine,
    /// The first line begins with a number, and has nothing else or words; the justification follows the number.
    NumberLine,
    /// `Score: [N]` stands somewhere in the text, with or without the brackets; the whole text is the justification.
    BracketedScore,
    /// `Rating: N` stands somewhere in the text, which all is the justification.
    Rating,
    /// `Final Score: N` stands somewhere in the text, mostly in the last line; all of it is the justification.
    FinalScore,
    /// A JSON object with a number `score` stands somewhere in the text, which all is the justification.
    JsonScore,
    /// The first line is `Better: 1`, `Better: 2` or `Better: tie`; the justification follows.
    BetterLine,
    /// The first line is two numbers, the scores of both responses; the justification follows.
    TwoScoresLine,
    /// `The better response: [first]` or another label, or the sentence that both are equally good, stands somewhere
    /// in the text; the whole text is the justification. A text with neither is read once more for other words that say it.
    BracketedPreference,
    /// `[[A]]`, `[[B]]`, or `[[C]]` for a tie stands somewhere in the text, which all is the justification.
    ThreeWay,
    /// One of `[[A>>B]]`, `[[A>B]]`, `[[A=B]]`, `[[B>A]]` and `[[B>>A]]` stands somewhere in the text, which all is the
    /// justification.
    FiveWay,
    /// `Answer 1 is better` or `Response 2 is better`, or `Tie`, is a sentence of the text, which all is the justification.
    AnswerSentence,
    /// `<think>…</think><answer>Answer 1 is better</answer>`, without ties; what it thinks is the justification.
    ThinkAnswer,
    /// A number that the critic's reward head reads, on no scale. What the critic writes before is the justification.
    Scalar,
}

impl AnswerForm {
    /// All of them.
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
        match self {
            Self::ScoreLine | Self::NumberLine | Self::BetterLine | Self::TwoScoresLine => true,
            Self::BracketedScore
            | Self::Rating
            | Self::FinalScore
            | Self::JsonScore
            | Self::BracketedPreference
            | Self::ThreeWay
            | Self::FiveWay
            | Self::AnswerSentence
            | Self::ThinkAnswer
            | Self::Scalar => false,
        }
    }

    /// Whether it scores one response or compares two.
    pub fn kind(self) -> Kind {
        match self {
            Self::ScoreLine
            | Self::NumberLine
            | Self::BracketedScore
            | Self::Rating
            | Self::FinalScore
            | Self::JsonScore
            | Self::Scalar => Kind::Pointwise,
            Self::BetterLine
            | Self::TwoScoresLine
            | Self::BracketedPreference
            | Self::ThreeWay
            | Self::FiveWay
            | Self::AnswerSentence
            | Self::ThinkAnswer => Kind::Pairwise,
        }
    }

    /// Whether it is made of scores.
    pub(crate) fn needs_scale(self) -> bool {
        match self {
            Self::Scalar => false,
            Self::TwoScoresLine => true,
            other => other.kind() == Kind::Pointwise,
        }
    }

    /// The words that tell a critic to answer so. They name every number as `N`, so that a critic which repeats them has
    /// not decided.
    pub(crate) fn instruction(self, rubric: &Rubric) -> String {
        let scores = rubric.scale.map_or_else(String::new, |scale| {
            let best = match rubric.direction {
                Direction::Higher => "",
                Direction::Lower => ", the lower the better",
            };
            format!("from {} to {}{best}", scale.min, scale.max)
        });
        match self {
            Self::Scalar => "Explain how good it is.".to_owned(),
            Self::ScoreLine => {
                format!("Give a score {scores}: write \"Score: N\" as the first line, then explain it.")
            }
            Self::NumberLine => {
                format!("Give a score {scores}: write the number alone as the first line, then explain it.")
            }
            Self::BracketedScore => {
                format!("Give a score {scores}, written as \"Score: [N]\", and explain it.")
            }
            Self::Rating => format!("Explain briefly, then give a score {scores}, written as \"Rating: N\"."),
            Self::FinalScore => {
                format!("Explain first, then give a score {scores} in the last line, written as \"Final Score: N\".")
            }
            Self::JsonScore => format!(
                "Give a score {scores} as a JSON object with the score as the number \"score\" and your reasons as the \
                 text \"reason\", and nothing else."
            ),
            Self::TwoScoresLine => format!(
                "Give each response a score {scores}: the first line has the two numbers alone, that of the first \
                 response and that of the second, with a space between; then explain them."
            ),
            Self::BetterLine => {
                "Say which is better: write \"Better: 1\", \"Better: 2\" or \"Better: tie\" as the first line, then explain it."
                .to_owned()
            }
            Self::ThreeWay => {
                "Explain first, then say which is better: \"[[A]]\" for the first response, \"[[B]]\" for the second, \
                 \"[[C]]\" for a tie; write the label without quotation marks."
                .to_owned()
            }
            Self::FiveWay => {
                "Explain first, then say which is better, A being the first response and B the second: \"[[A>>B]]\" when A \
                 is better by far, \"[[A>B]]\" when by a little, \"[[A=B]]\" for a tie, \"[[B>A]]\" and \"[[B>>A]]\" when B \
                 is better; write the label without quotation marks."
                .to_owned()
            }
            Self::AnswerSentence => {
                "Explain first, then say which is better in a last sentence of its own, without quotation marks: \
                 \"Answer 1 is better.\" for the first response, \"Answer 2 is better.\" for the second, or \"Tie.\""
                .to_owned()
            }
            Self::ThinkAnswer => {
                "Think first, between <think> and </think>, then say which is better: <answer>Answer N is better</answer>, \
                 with 1 for the first response and 2 for the second. There is no tie."
                .to_owned()
            }
            Self::BracketedPreference => {
                "Say which is better, written as \"The better response: [first]\" or \"The better response: [second]\", or \
                 write \"Both responses are equally good.\", and explain it."
                .to_owned()
            }
        }
    }
}
