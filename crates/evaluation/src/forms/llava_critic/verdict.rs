//! GPT turns, whose verdicts are the labels.

use std::slice;

use rubric::{
    AnswerForm, Confidence, Direction, Ending, Outcome, Scale, Verdict, VerdictError, VerdictParser,
};

use super::human_turn::{Asked, Layout, Responses};
use crate::{Label, ReferenceScale};

/// The scale of LLaVA-Critic's own scores and of captions.
const HUNDRED: ReferenceScale = ReferenceScale { min: 0.0, max: 100.0, direction: Some(Direction::Higher) };
/// The scale of LLaVA-Bench.
const TEN: ReferenceScale = ReferenceScale { max: 10.0, ..HUNDRED };
/// The scale of ratings of MMHal-Bench.
const SIX: ReferenceScale = ReferenceScale { max: 6.0, ..HUNDRED };

/// The label from the GPT turn `verdict`.
///
/// # Errors
/// The reason why it has none.
pub(super) fn label(asked: &Asked, verdict: &str) -> Result<Label, String> {
    let (outcome, scale) = decision(asked, verdict).ok_or("its verdict cannot be read")?;
    let scale = Some(scale);
    match (&asked.responses, outcome) {
        (Responses::One(response), Outcome::Score(score)) => {
            Ok(Label::Score { response: response.clone(), score, scale })
        }
        (Responses::Beside(response), Outcome::Scores(pair)) => {
            Ok(Label::Score { response: response.clone(), score: pair.scores()[1], scale })
        }
        (Responses::Pair(responses), outcome) => {
            let better = outcome.preference().ok_or("its verdict is no preference")?;
            Ok(Label::Preference { responses: responses.clone(), better })
        }
        _ => Err("its verdict is of another kind than its question".into()),
    }
}

/// The decision in the first of the possible forms that states one, and its scale.
fn decision(asked: &Asked, verdict: &str) -> Option<(Outcome, ReferenceScale)> {
    let forms = match &asked.form {
        Some(form) => slice::from_ref(form),
        None => usual_forms(asked.layout, verdict),
    };
    for form in forms {
        let scale = asked.scale.unwrap_or_else(|| usual_scale(*form));
        match parse((*form, scale), verdict) {
            // Guessed verdicts are not used as labels.
            Ok(found) if found.confidence == Confidence::Stated => return Some((found.outcome, scale)),
            // Labels that contradict each other are not decided by other words.
            Err(VerdictError::Conflicting(_)) if is_label(*form) => return None,
            Ok(_) | Err(_) => {}
        }
    }
    None
}

/// The forms of the verdict on a human turn that states none, in the order in which they are tried. Labels come before
/// words, which may also be about a single aspect of the responses, such as "equally good in style".
fn usual_forms(layout: Layout, verdict: &str) -> &'static [AnswerForm] {
    match layout {
        Layout::Response => &[AnswerForm::FinalScore, AnswerForm::BracketedScore, AnswerForm::Rating],
        Layout::Caption => &[AnswerForm::FinalScore, AnswerForm::BracketedScore],
        Layout::LlavaBench => &[AnswerForm::TwoScoresLine],
        Layout::WildVision => &[AnswerForm::FiveWay, AnswerForm::ThreeWay],
        Layout::Answers if !verdict.to_lowercase().contains("better response:") => &[
            AnswerForm::FiveWay,
            AnswerForm::ThreeWay,
            AnswerForm::TwoScoresLine,
            AnswerForm::AnswerSentence,
            AnswerForm::BracketedPreference,
        ],
        Layout::Answers | Layout::Responses => &[
            AnswerForm::FiveWay,
            AnswerForm::ThreeWay,
            AnswerForm::TwoScoresLine,
            AnswerForm::BracketedPreference,
            AnswerForm::AnswerSentence,
        ],
    }
}

/// Whether a form consists of labels in double brackets.
fn is_label(form: AnswerForm) -> bool {
    matches!(form, AnswerForm::FiveWay | AnswerForm::ThreeWay)
}

/// The scale of a human turn that states none.
fn usual_scale(form: AnswerForm) -> ReferenceScale {
    match form {
        AnswerForm::TwoScoresLine => TEN,
        AnswerForm::Rating => SIX,
        _ => HUNDRED,
    }
}

fn parse((form, scale): (AnswerForm, ReferenceScale), verdict: &str) -> Result<Verdict, VerdictError> {
    let ReferenceScale { min, max, direction } = scale;
    let scale = Scale { min, max, step: 1.0, decimals: true };
    let mut parser = VerdictParser::new(form, Some(scale), "").in_direction(direction.unwrap_or_default());
    parser.push(verdict.trim_start());
    parser.finish(Ending::Complete)
}
