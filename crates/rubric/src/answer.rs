//! The places and formats in which critics write their decision, and the instructions that ask for them.

use serde::{Deserialize, Serialize};

use crate::{Direction, Kind, Rubric};

/// The place and format in which a critic writes its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
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

    /// Whether the decision consists of scores on the rubric's scale.
    pub(crate) fn needs_scale(self) -> bool {
        match self {
            Self::Scalar => false,
            Self::TwoScoresLine => true,
            other => other.kind() == Kind::Pointwise,
        }
    }

    /// The instruction that asks a critic for this form. It writes every number as `N`, so that a critic that
    /// repeats the instruction has not stated a verdict.
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
                format!(
                    "Explain first, then give a score {scores} in the last line, written as \"Final Score: N\"."
                )
            }
            Self::JsonScore => format!(
                "Give a score {scores} as a JSON object with the score as the number \"score\" and your reasons as the \
                 text \"reason\", and nothing else."
            ),
            Self::TwoScoresLine => format!(
                "Give each response a score {scores}: the first line has the two numbers alone, that of the first \
                 response and that of the second, with a space between; then explain them."
            ),
            Self::BetterLine => BETTER_LINE.to_owned(),
            Self::ThreeWay => THREE_WAY.to_owned(),
            Self::FiveWay => FIVE_WAY.to_owned(),
            Self::AnswerSentence => ANSWER_SENTENCE.to_owned(),
            Self::ThinkAnswer => THINK_ANSWER.to_owned(),
            Self::BracketedPreference => BRACKETED_PREFERENCE.to_owned(),
        }
    }
}

// Instructions for comparing two responses.
const BETTER_LINE: &str = "\
    Say which is better: write \"Better: 1\", \"Better: 2\" or \"Better: tie\" as the first line, then \
    explain it.";
const THREE_WAY: &str = "\
    Explain first, then say which is better: \"[[A]]\" for the first response, \"[[B]]\" for the second, \
    \"[[C]]\" for a tie; write the label without quotation marks.";
const FIVE_WAY: &str = "\
    Explain first, then say which is better, A being the first response and B the second: \"[[A>>B]]\" when \
    A is better by far, \"[[A>B]]\" when by a little, \"[[A=B]]\" for a tie, \"[[B>A]]\" and \"[[B>>A]]\" \
    when B is better; write the label without quotation marks.";
const ANSWER_SENTENCE: &str = "\
    Explain first, then say which is better in a last sentence of its own, without quotation marks: \"Answer \
    1 is better.\" for the first response, \"Answer 2 is better.\" for the second, or \"Tie.\"";
const THINK_ANSWER: &str = "\
    Think first, between <think> and </think>, then say which is better: <answer>Answer N is \
    better</answer>, with 1 for the first response and 2 for the second. There is no tie.";
const BRACKETED_PREFERENCE: &str = "\
    Say which is better, written as \"The better response: [first]\" or \"The better response: [second]\", \
    or write \"Both responses are equally good.\", and explain it.";
