//! The texts that can express a critic's decision, and the meaning of each.

use crate::{AnswerForm, Grade, Outcome, Preference, Rubric, ScorePair};

/// The text before a decision and the possible texts of the decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Choices {
    /// The text before the decision; may be empty.
    pub lead: String,
    /// The decisions in order, scores in ascending order. No text is a prefix of another.
    pub texts: Vec<(String, Outcome)>,
}

impl Choices {
    /// The choices of `form` under `rubric`; `None` when the scale has too many scores to list, and for
    /// [`AnswerForm::Scalar`].
    pub(crate) fn new(form: AnswerForm, rubric: &Rubric) -> Option<Self> {
        let (lead, texts) = match form {
            AnswerForm::ScoreLine => ("Score: ", scores(rubric, "\n")?),
            AnswerForm::NumberLine => ("", scores(rubric, "\n")?),
            AnswerForm::BracketedScore => ("Score: [", scores(rubric, "]")?),
            AnswerForm::Rating => ("Rating: ", scores(rubric, "\n")?),
            AnswerForm::FinalScore => ("Final Score: ", scores(rubric, "\n")?),
            AnswerForm::Scalar => return None,
            AnswerForm::JsonScore => ("{\"score\": ", scores(rubric, "}")?),
            AnswerForm::BetterLine => ("Better: ", preferences(["1\n", "2\n", "tie\n"])),
            AnswerForm::TwoScoresLine => ("", score_pairs(rubric)?),
            AnswerForm::BracketedPreference => ("", preferences(BRACKETED)),
            AnswerForm::ThreeWay => ("", preferences(["[[A]]", "[[B]]", "[[C]]"])),
            AnswerForm::FiveWay => ("", grades()),
            AnswerForm::AnswerSentence => {
                ("", preferences(["Answer 1 is better.", "Answer 2 is better.", "Tie."]))
            }
            AnswerForm::ThinkAnswer => ("<answer>Answer ", {
                let texts = ["1 is better</answer>", "2 is better</answer>"];
                let sides = [Preference::First, Preference::Second].map(Outcome::Preference);
                texts.map(str::to_owned).into_iter().zip(sides).collect()
            }),
        };
        Some(Self { lead: lead.to_owned(), texts })
    }

    /// The decisions without their texts.
    pub fn into_outcomes(self) -> Vec<Outcome> {
        self.texts.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// The part of the lead that remains after a reply that already begins with `reply`; `None` when `reply` is not
    /// a prefix of the lead.
    pub fn rest_of_lead(&self, reply: &str) -> Option<&str> {
        self.lead.strip_prefix(reply)
    }
}

const BRACKETED: [&str; 3] =
    ["The better response: [first]", "The better response: [second]", "Two responses are equally good."];

/// Every score of the scale, followed by the same `end`, so that "1" is not the beginning of "10". The engine does not
/// insist on this end: it asks whether a score is continued.
fn scores(rubric: &Rubric, end: &str) -> Option<Vec<(String, Outcome)>> {
    let scores = rubric.scale?.scores()?;
    Some(scores.map(|score| (format!("{score}{end}"), Outcome::Score(score))).collect())
}

/// Every pair of scores; `None` when there are more than 1000 pairs.
fn score_pairs(rubric: &Rubric) -> Option<Vec<(String, Outcome)>> {
    let scores: Vec<f64> = rubric.scale?.scores()?.collect();
    let pair = |first: f64, second: f64| {
        let pair = ScorePair::new(first, second, rubric.direction);
        (format!("{first} {second}\n"), Outcome::Scores(pair))
    };
    let pairs = || scores.iter().flat_map(|first| scores.iter().map(move |second| pair(*first, *second)));
    (scores.len() * scores.len() <= 1000).then(|| pairs().collect())
}

fn preferences(texts: [&str; 3]) -> Vec<(String, Outcome)> {
    let meanings = [Preference::First, Preference::Second, Preference::Tie];
    texts.map(str::to_owned).into_iter().zip(meanings.map(Outcome::Preference)).collect()
}

/// The five labels, from the one most in favour of the first response to the one most in favour of the second.
pub(crate) const GRADES: [(&str, Grade); 5] = [
    ("A>>B", Grade::FirstByFar),
    ("A>B", Grade::First),
    ("A=B", Grade::Tie),
    ("B>A", Grade::Second),
    ("B>>A", Grade::SecondByFar),
];

fn grades() -> Vec<(String, Outcome)> {
    GRADES.iter().map(|(label, grade)| (format!("[[{label}]]"), Outcome::Grade(*grade))).collect()
}
