//! The texts by which a critic can decide, and what each means.

use crate::{AnswerForm, Outcome, Preference, Rubric};

/// What stands before a decision and the texts that the decision can be.
#[derive(Debug, Clone, PartialEq)]
pub struct Choices {
    /// The text before the decision; may be empty.
    pub lead: String,
    /// The decisions in order, worst score first. None of the texts is the beginning of another.
    pub texts: Vec<(String, Outcome)>,
}

impl Choices {
    /// Those of `form` under `rubric`; `None` when the scale has too many scores to list.
    pub(crate) fn new(form: AnswerForm, rubric: &Rubric) -> Option<Self> {
        let (lead, end) = match form {
            AnswerForm::ScoreLine => ("Score: ", "\n"),
            AnswerForm::BetterLine => ("Better: ", "\n"),
            AnswerForm::BracketedScore => ("Score: [", "]"),
            AnswerForm::BracketedPreference => ("", ""),
        };
        let texts: Vec<(String, Outcome)> = match form {
            AnswerForm::ScoreLine | AnswerForm::BracketedScore => {
                let scores = rubric.scale.and_then(|scale| scale.scores())?;
                scores.map(|score| (format!("{score}{end}"), Outcome::Score(score))).collect()
            }
            AnswerForm::BetterLine => preferences(["1\n", "2\n", "tie\n"]),
            AnswerForm::BracketedPreference => preferences([
                "The better response: [first]",
                "The better response: [second]",
                "Two responses are equally good.",
            ]),
        };
        Some(Self { lead: lead.to_owned(), texts })
    }

    /// What is left of the lead after a reply that was begun with `reply`; `None` when that is no part of the lead.
    pub fn rest_of_lead(&self, reply: &str) -> Option<&str> {
        self.lead.strip_prefix(reply)
    }
}

fn preferences(texts: [&str; 3]) -> Vec<(String, Outcome)> {
    let meanings = [Preference::First, Preference::Second, Preference::Tie];
    texts.map(str::to_owned).into_iter().zip(meanings.map(Outcome::Preference)).collect()
}
