//! The texts that can express a critic's decision, and the meaning of each.

use crate::{
    AnswerForm, Outcome, Preference, Rubric, ScorePair,
    answer::{Decision, GRADES, Notation},
};

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
    /// [`AnswerForm::Scalar`]. All scores are followed by the same text, so that "1" is not the beginning of "10". The
    /// engine does not insist on this end: it asks whether a score is continued.
    pub(crate) fn new(form: AnswerForm, rubric: &Rubric) -> Option<Self> {
        let Notation { lead, end } = form.notation();
        let text = |outcome: Outcome| Some((form.label(outcome)? + end, outcome));
        let texts = outcomes(form, rubric)?.into_iter().map(text).collect::<Option<Vec<_>>>()?;
        Some(Self { lead: lead.to_owned(), texts })
    }

    /// What a critic may write on a scale with decimals: the numbers of the scale, in steps or between them. One list
    /// for a score, and two for the scores of two responses, of which the second has no lead. Several texts state the
    /// same score: "8" and "8.0". `None` without decimals, for forms without scores, and when there are too many
    /// numbers.
    pub(crate) fn with_decimals(form: AnswerForm, rubric: &Rubric) -> Option<(Self, Option<Self>)> {
        let scale = rubric.scale.filter(|scale| scale.decimals)?;
        let Notation { lead, end } = form.notation();
        let list = |lead: &str, end: &str| -> Option<Self> {
            let text = |number: String| {
                let outcome = Outcome::Score(number.parse().ok()?);
                Some((number + end, outcome))
            };
            let texts = scale.decimal_numbers()?.into_iter().map(text).collect::<Option<Vec<_>>>()?;
            Some(Self { lead: lead.to_owned(), texts })
        };
        match form.decision() {
            Decision::Score => Some((list(lead, end)?, None)),
            Decision::TwoScores => Some((list(lead, " ")?, Some(list("", end)?))),
            Decision::Preference { .. } | Decision::Grade | Decision::Head => None,
        }
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

/// Every outcome that `form` can state under `rubric`, in order.
fn outcomes(form: AnswerForm, rubric: &Rubric) -> Option<Vec<Outcome>> {
    let sides = [Preference::First, Preference::Second, Preference::Tie].map(Outcome::Preference);
    match form.decision() {
        Decision::Score => Some(rubric.scale?.scores()?.map(Outcome::Score).collect()),
        Decision::TwoScores => score_pairs(rubric),
        Decision::Preference { tie: Some(_), .. } => Some(sides.to_vec()),
        Decision::Preference { tie: None, .. } => Some(sides[..2].to_vec()),
        Decision::Grade => Some(GRADES.map(|(_, grade)| Outcome::Grade(grade)).to_vec()),
        Decision::Head => None,
    }
}

/// Every pair of scores; `None` when there are more than 1000 pairs.
fn score_pairs(rubric: &Rubric) -> Option<Vec<Outcome>> {
    let scores: Vec<f64> = rubric.scale?.scores()?.collect();
    let pair = |first: f64, second: f64| Outcome::Scores(ScorePair::new(first, second, rubric.direction));
    let pairs = || scores.iter().flat_map(|first| scores.iter().map(move |second| pair(*first, *second)));
    (scores.len() * scores.len() <= 1000).then(|| pairs().collect())
}
