//! The instructions that ask critics for an answer form, and the forms that instructions ask for.

use crate::{AnswerForm, Direction, Kind, Rubric};

// The words of each instruction by which its form is recognised. No other instruction has them.
const SCORE_LINE: &str = "write \"Score: N\" as the first line";
const NUMBER_LINE: &str = "write the number alone as the first line";
const BRACKETED_SCORE: &str = "written as \"Score: [N]\"";
const RATING: &str = "written as \"Rating: N\"";
const FINAL_SCORE: &str = "written as \"Final Score: N\"";
const JSON_SCORE: &str = "as a JSON object with the score";
const BETTER_LINE: &str = "write \"Better: 1\"";
const TWO_SCORES_LINE: &str = "the first line has the two numbers alone";
const BRACKETED_PREFERENCE: &str = "written as \"The better response: [first]\"";
const THREE_WAY: &str = "\"[[A]]\" for the first response";
const FIVE_WAY: &str = "\"[[A>>B]]\" when";
const ANSWER_SENTENCE: &str = "\"Answer 1 is better.\" for the first response";
const THINK_ANSWER: &str = "<answer>Answer N is better</answer>";

impl AnswerForm {
    /// The form that instructions for a judgement of this kind ask for, if they are in the words of
    /// [`Profile`](crate::Profile)s. A reward head's number is no text, so that nothing asks for it.
    pub fn stated_in(kind: Kind, instructions: &str) -> Option<Self> {
        let mut of_kind = Self::ALL.into_iter().filter(|form| form.kind() == kind);
        of_kind.find(|form| form.words().is_some_and(|words| instructions.contains(words)))
    }

    fn words(self) -> Option<&'static str> {
        Some(match self {
            Self::ScoreLine => SCORE_LINE,
            Self::NumberLine => NUMBER_LINE,
            Self::BracketedScore => BRACKETED_SCORE,
            Self::Rating => RATING,
            Self::FinalScore => FINAL_SCORE,
            Self::JsonScore => JSON_SCORE,
            Self::BetterLine => BETTER_LINE,
            Self::TwoScoresLine => TWO_SCORES_LINE,
            Self::BracketedPreference => BRACKETED_PREFERENCE,
            Self::ThreeWay => THREE_WAY,
            Self::FiveWay => FIVE_WAY,
            Self::AnswerSentence => ANSWER_SENTENCE,
            Self::ThinkAnswer => THINK_ANSWER,
            Self::Scalar => return None,
        })
    }

    /// The instruction that asks a critic for this form. It writes every number as `N`, so that a critic that
    /// repeats the instruction has not stated a verdict.
    pub(crate) fn instruction(self, rubric: &Rubric) -> String {
        let scores = scores(rubric);
        match self {
            Self::Scalar => "Explain how good it is.".to_owned(),
            Self::ScoreLine => format!("Give a score {scores}: {SCORE_LINE}, then explain it."),
            Self::NumberLine => format!("Give a score {scores}: {NUMBER_LINE}, then explain it."),
            Self::BracketedScore => format!("Give a score {scores}, {BRACKETED_SCORE}, and explain it."),
            Self::Rating => format!("Explain briefly, then give a score {scores}, {RATING}."),
            Self::FinalScore => {
                format!("Explain first, then give a score {scores} in the last line, {FINAL_SCORE}.")
            }
            Self::JsonScore => format!(
                "Give a score {scores} {JSON_SCORE} as the number \"score\" and your reasons as the text \"reason\", \
                 and nothing else."
            ),
            Self::TwoScoresLine => format!(
                "Give each response a score {scores}: {TWO_SCORES_LINE}, that of the first response and that of the \
                 second, with a space between; then explain them."
            ),
            Self::BetterLine => format!(
                "Say which is better: {BETTER_LINE}, \"Better: 2\" or \"Better: tie\" as the first line, then explain \
                 it."
            ),
            Self::ThreeWay => format!(
                "Explain first, then say which is better: {THREE_WAY}, \"[[B]]\" for the second, \"[[C]]\" for a tie; \
                 write the label without quotation marks."
            ),
            Self::FiveWay => format!(
                "Explain first, then say which is better, A being the first response and B the second: {FIVE_WAY} A is \
                 better by far, \"[[A>B]]\" when by a little, \"[[A=B]]\" for a tie, \"[[B>A]]\" and \"[[B>>A]]\" when \
                 B is better; write the label without quotation marks."
            ),
            Self::AnswerSentence => format!(
                "Explain first, then say which is better in a last sentence of its own, without quotation marks: \
                 {ANSWER_SENTENCE}, \"Answer 2 is better.\" for the second, or \"Tie.\""
            ),
            Self::ThinkAnswer => format!(
                "Think first, between <think> and </think>, then say which is better: {THINK_ANSWER}, with 1 for the \
                 first response and 2 for the second. There is no tie."
            ),
            Self::BracketedPreference => format!(
                "Say which is better, {BRACKETED_PREFERENCE} or \"The better response: [second]\", or write \"Both \
                 responses are equally good.\", and explain it."
            ),
        }
    }
}

/// The scale in words, if the rubric has one.
fn scores(rubric: &Rubric) -> String {
    rubric.scale.map_or_else(String::new, |scale| {
        let best = match rubric.direction {
            Direction::Higher => "",
            Direction::Lower => ", the lower the better",
        };
        format!("from {} to {}{best}", scale.min, scale.max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scale;

    #[test]
    fn the_form_that_an_instruction_asks_for_is_recognised_by_it() {
        let scale = Some(Scale { min: 1.0, max: 10.0, step: 1.0, decimals: false });
        let any = Rubric::inline(Kind::Pointwise, "Be right.".into(), scale).unwrap();
        for form in AnswerForm::ALL {
            for direction in [Direction::Higher, Direction::Lower] {
                let instruction = form.instruction(&Rubric { direction, ..any.clone() });
                let expected = (form != AnswerForm::Scalar).then_some(form);
                assert_eq!(AnswerForm::stated_in(form.kind(), &instruction), expected, "{instruction}");
            }
        }
        assert_eq!(AnswerForm::stated_in(Kind::Pairwise, "Say which is better."), None);
    }
}
