//! How each answer form writes a decision.

use serde_json::Value;

use crate::{AnswerForm, Grade, Outcome, Preference};

/// What surrounds the label of a decision in an answer form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Notation {
    /// The text before the label; may be empty.
    pub(crate) lead: &'static str,
    /// The text after the label; empty if the label itself shows where it ends.
    pub(crate) end: &'static str,
}

/// What a decision is, with the labels of those that have few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// A score on the rubric's scale.
    Score,
    /// The scores of the first and the second response.
    TwoScores,
    /// The better response.
    Preference {
        /// The labels of the first and the second response.
        sides: [&'static str; 2],
        /// The label of a tie; `None` where there are no ties.
        tie: Option<&'static str>,
    },
    /// The better response and how much better it is: one of [`GRADES`].
    Grade,
    /// The number of a reward head, which is no text.
    Head,
}

/// The five labels, from the one most in favour of the first response to the one most in favour of the second.
pub(crate) const GRADES: [(&str, Grade); 5] = [
    ("A>>B", Grade::FirstByFar),
    ("A>B", Grade::First),
    ("A=B", Grade::Tie),
    ("B>A", Grade::Second),
    ("B>>A", Grade::SecondByFar),
];

impl AnswerForm {
    /// What surrounds the labels of this form. Of [`Scalar`](Self::Scalar), which has no labels, nothing does.
    pub(crate) fn notation(self) -> Notation {
        let (lead, end) = match self {
            Self::ScoreLine => ("Score: ", "\n"),
            Self::BracketedScore => ("Score: [", "]"),
            Self::Rating => ("Rating: ", "\n"),
            Self::FinalScore => ("Final Score: ", "\n"),
            Self::JsonScore => ("{\"score\": ", "}"),
            Self::BetterLine => ("Better: ", "\n"),
            Self::NumberLine | Self::TwoScoresLine => ("", "\n"),
            Self::BracketedPreference
            | Self::ThreeWay
            | Self::FiveWay
            | Self::AnswerSentence
            | Self::Scalar => ("", ""),
            Self::ThinkAnswer => ("<answer>Answer ", "</answer>"),
        };
        Notation { lead, end }
    }

    /// What this form states.
    pub(crate) fn decision(self) -> Decision {
        let sides = |sides, tie| Decision::Preference { sides, tie };
        match self {
            Self::ScoreLine
            | Self::NumberLine
            | Self::BracketedScore
            | Self::Rating
            | Self::FinalScore
            | Self::JsonScore => Decision::Score,
            Self::TwoScoresLine => Decision::TwoScores,
            Self::BetterLine => sides(["1", "2"], Some("tie")),
            // The words in which LLaVA-Critic was trained.
            Self::BracketedPreference => sides(
                ["The better response: [first]", "The better response: [second]"],
                Some("Two responses are equally good."),
            ),
            Self::ThreeWay => sides(["[[A]]", "[[B]]"], Some("[[C]]")),
            Self::FiveWay => Decision::Grade,
            Self::AnswerSentence => sides(["Answer 1 is better.", "Answer 2 is better."], Some("Tie.")),
            Self::ThinkAnswer => sides(["1 is better", "2 is better"], None),
            Self::Scalar => Decision::Head,
        }
    }

    /// The label of this form for an outcome; `None` if it has none, such as for a tie where there are no ties.
    pub(crate) fn label(self, outcome: Outcome) -> Option<String> {
        match (self.decision(), outcome) {
            (Decision::Score, Outcome::Score(score)) => Some(score.to_string()),
            (Decision::TwoScores, Outcome::Scores(pair)) => {
                Some(pair.scores().map(|score| score.to_string()).join(" "))
            }
            (Decision::Preference { sides: [first, second], tie }, outcome) => {
                let label = match outcome.preference()? {
                    Preference::First => Some(first),
                    Preference::Second => Some(second),
                    Preference::Tie => tie,
                };
                label.map(str::to_owned)
            }
            (Decision::Grade, outcome) => {
                let graded = grade(outcome)?;
                GRADES.iter().find(|(_, grade)| *grade == graded).map(|(label, _)| format!("[[{label}]]"))
            }
            (Decision::Score | Decision::TwoScores | Decision::Head, _) => None,
        }
    }

    /// The answer of a critic that decides `outcome` for these reasons, in the order in which the instruction asks for
    /// them; `None` if this form has no words for the outcome. Critics that write their decision within free text have
    /// it among their reasons, which are the whole answer then.
    pub fn write(self, outcome: Outcome, reasons: &str) -> Option<String> {
        let Notation { lead, end } = self.notation();
        let decision = format!("{lead}{}{end}", self.label(outcome)?);
        // Without the end of its line, and without the braces of its object, which has the reasons too.
        let decision = decision.trim_matches(['{', '}', '\n']);
        if !self.decides_first() && reasons.contains(decision) {
            return Some(reasons.to_owned());
        }
        Some(match self {
            Self::JsonScore => format!("{{{decision}, \"reason\": {}}}", Value::from(reasons)),
            Self::ThinkAnswer => format!("<think>{reasons}</think>{decision}"),
            Self::Rating | Self::FinalScore | Self::ThreeWay | Self::FiveWay | Self::AnswerSentence => {
                lines([reasons, decision])
            }
            Self::ScoreLine
            | Self::NumberLine
            | Self::BracketedScore
            | Self::BetterLine
            | Self::TwoScoresLine
            | Self::BracketedPreference
            | Self::Scalar => lines([decision, reasons]),
        })
    }
}

/// The grade of an outcome. A preference without a strength is none, except that a tie needs no strength.
fn grade(outcome: Outcome) -> Option<Grade> {
    match outcome {
        Outcome::Grade(grade) => Some(grade),
        other => (other.preference() == Some(Preference::Tie)).then_some(Grade::Tie),
    }
}

/// These texts, each on lines of its own if it is not empty.
fn lines(texts: [&str; 2]) -> String {
    let texts: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Choices, Confidence, Ending, Kind, Rubric, Scale, VerdictParser};

    #[test]
    fn what_a_form_writes_is_read_as_the_same_outcome() {
        let scale = Some(Scale { min: 0.0, max: 2.0, step: 0.5, decimals: false });
        let any = Rubric::inline(Kind::Pointwise, "Be right.".into(), scale).unwrap();
        for form in AnswerForm::ALL.into_iter().filter(|form| *form != AnswerForm::Scalar) {
            let outcomes = Choices::new(form, &any).unwrap().into_outcomes();
            assert!(outcomes.len() > 1, "{form:?}");
            for outcome in outcomes {
                for reasons in ["It is \"right\".", ""] {
                    let answer = form.write(outcome, reasons).unwrap();
                    let mut parser = VerdictParser::new(form, scale, "");
                    parser.push(&answer);
                    let read = parser.finish(Ending::Complete).map(|read| (read.outcome, read.confidence));
                    assert_eq!(read, Ok((outcome, Confidence::Stated)), "{answer:?}");
                    assert!(answer.contains("right") || reasons.is_empty(), "{answer:?}");
                }
            }
        }
    }

    #[test]
    fn a_decision_that_is_among_the_reasons_is_written_once() {
        let seven = |form: AnswerForm, reasons| form.write(Outcome::Score(7.0), reasons).unwrap();
        for (form, reasons) in [
            (AnswerForm::Rating, "It is right.\nRating: 7"),
            (AnswerForm::BracketedScore, "It is right. Score: [7]. Well done."),
            (AnswerForm::JsonScore, "{ \"reason\": \"It is right.\", \"score\": 7 }"),
        ] {
            assert_eq!(seven(form, reasons), reasons);
        }
        let json = seven(AnswerForm::JsonScore, "It is \"right\".");
        assert_eq!(json, r#"{"score": 7, "reason": "It is \"right\"."}"#);
    }

    #[test]
    fn an_outcome_that_a_form_cannot_state_is_not_written() {
        let [first, tie] = [Preference::First, Preference::Tie].map(Outcome::Preference);
        for (form, outcome) in [
            (AnswerForm::FiveWay, first),
            (AnswerForm::ThinkAnswer, tie),
            (AnswerForm::TwoScoresLine, first),
            (AnswerForm::Rating, first),
            (AnswerForm::ThreeWay, Outcome::Score(1.0)),
            (AnswerForm::Scalar, Outcome::Score(1.0)),
        ] {
            assert_eq!(form.write(outcome, "A."), None, "{form:?} {outcome:?}");
        }
        assert_eq!(AnswerForm::FiveWay.write(tie, "").as_deref(), Some("[[A=B]]"));
    }
}
