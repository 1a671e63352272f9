//! Verdicts of the log as answers to train on.

use anyhow::{Context, bail, ensure};
use judge::{AnswerForm, Direction, Grade, Kind, Outcome, Preference, Reading, Rubric, Scale, ScorePair};
use serde_json::Value;

/// Checks that a verdict by `rubric` can be taught: it is one that a critic stated, with complete reasons if any.
///
/// # Errors
/// The reason why it is left out of the set.
pub(super) fn check(verdict: &Value, rubric: &Rubric) -> anyhow::Result<()> {
    ensure!(verdict["consistent"] != false, "the two orders of their pair disagree");
    ensure!(verdict["usage"]["total_tokens"] != 0, "the server decided them without the critic");
    stated(verdict).context("none of the critic's own verdicts is the one of all together")?;
    ensure!(!is_cut(verdict), "their reasons were cut by the token limit");
    ensure!(!is_inferred(verdict), "they were inferred from other words than those of a verdict");
    if rubric.kind == Kind::Pointwise {
        check_score(verdict, rubric)?;
    }
    Ok(())
}

/// Checks that a score is one that a critic can write: neither a reward on no scale, nor a mean between two steps.
fn check_score(verdict: &Value, rubric: &Rubric) -> anyhow::Result<()> {
    let Some(score) = verdict["score"].as_f64() else { bail!("their verdict is no score") };
    let scale = rubric.scale.filter(|_| verdict["scale"].is_object());
    let scale = scale.context("their score is on no scale")?;
    // A critic may write a number between the steps of a scale with decimals, but a mean is not what it wrote.
    let is_mean = verdict["spread"].is_object() || rubric.reading == Reading::Expected;
    let scale = Scale { decimals: scale.decimals && !is_mean, ..scale };
    ensure!(scale.contains(score), "their score is a mean between two steps of its scale");
    Ok(())
}

/// The verdict of the critic itself, with its reasons: of one on both orders, that on the given order; of several
/// samples, the first that is equal to all together. `None` if that decided otherwise.
fn stated(verdict: &Value) -> Option<&Value> {
    let is_equal =
        |one: &&Value| ["score", "preference"].iter().all(|decision| one[*decision] == verdict[*decision]);
    let list = |name: &str| verdict[name].as_array();
    match (list("orders"), list("samples")) {
        (Some(orders), _) => orders.first().filter(is_equal),
        (None, Some(samples)) => samples.iter().find(is_equal),
        (None, None) => Some(verdict),
    }
}

/// Whether the reasons of a verdict were cut by the token limit.
pub(super) fn is_cut(verdict: &Value) -> bool {
    stated(verdict).is_some_and(|stated| stated["finish_reason"] == "length")
}

/// Whether a verdict, or one of those that it combines, was inferred from other words of the critic.
fn is_inferred(verdict: &Value) -> bool {
    let of = |name: &str| verdict[name].as_array().into_iter().flatten();
    [verdict].into_iter().chain(of("orders")).chain(of("samples")).any(|one| one["confidence"] == "fallback")
}

/// The decision and the reasons in the order in which the instruction for `form` asks for them.
///
/// # Errors
/// The reason why the verdict cannot be written in this form.
pub(super) fn answer(verdict: &Value, form: AnswerForm, direction: Direction) -> anyhow::Result<String> {
    let verdict = stated(verdict).unwrap_or(verdict);
    let reasons = verdict["justification"].as_str().unwrap_or_default();
    let answer = outcome(verdict, direction).and_then(|outcome| form.write(outcome, reasons));
    answer.context("their verdict has no place in the answer form of its rubric")
}

/// The decision of a verdict; `None` if it has none. Scores are better in this direction.
fn outcome(verdict: &Value, direction: Direction) -> Option<Outcome> {
    if let Some(score) = verdict["score"].as_f64() {
        return Some(Outcome::Score(score));
    }
    if let [Some(first), Some(second)] = [0_usize, 1].map(|index| verdict["scores"][index].as_f64()) {
        return Some(Outcome::Scores(ScorePair::new(first, second, direction)));
    }
    let is_by_far = verdict["strength"].as_str().map(|strength| strength == "by_far");
    Some(match (verdict["preference"].as_str()?, is_by_far) {
        ("first", Some(true)) => Outcome::Grade(Grade::FirstByFar),
        ("first", Some(false)) => Outcome::Grade(Grade::First),
        ("first", None) => Outcome::Preference(Preference::First),
        ("second", Some(true)) => Outcome::Grade(Grade::SecondByFar),
        ("second", Some(false)) => Outcome::Grade(Grade::Second),
        ("second", None) => Outcome::Preference(Preference::Second),
        _ => Outcome::Preference(Preference::Tie),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rubric(reading: Reading, decimals: bool) -> Rubric {
        let scale = Scale { min: 0.0, max: 10.0, step: 1.0, decimals };
        let rubric = Rubric::inline(Kind::Pointwise, "Be right.".into(), Some(scale)).unwrap();
        Rubric { reading, ..rubric }
    }

    fn scored(score: f64) -> Value {
        json!({ "score": score, "scale": { "min": 0, "max": 10 }, "justification": "It is right." })
    }

    #[test]
    fn means_between_steps_are_not_taught() {
        let mut samples = scored(6.5);
        samples["spread"] = json!({ "standard_deviation": 0.5 });
        let mut on_no_scale = scored(3.0);
        on_no_scale["scale"] = Value::Null;
        for (verdict, reading, decimals, is_right) in [
            (scored(7.0), Reading::Written, false, true),
            (scored(6.5), Reading::Written, true, true),
            (scored(6.5), Reading::Expected, true, false),
            (scored(7.0), Reading::Expected, true, true),
            (scored(6.5), Reading::Expected, false, false),
            (samples.clone(), Reading::Written, false, false),
            (samples, Reading::Written, true, false),
            (on_no_scale, Reading::Written, false, false),
        ] {
            let checked = check(&verdict, &rubric(reading, decimals));
            assert_eq!(checked.is_ok(), is_right, "{verdict} {checked:?}");
        }
    }

    #[test]
    fn decisions_stand_where_their_form_has_them_and_once() {
        let written = |verdict: &Value, form| answer(verdict, form, Direction::Higher).ok();
        for (form, text) in [
            (AnswerForm::BracketedScore, "Score: [7]\nIt is right."),
            (AnswerForm::NumberLine, "7\nIt is right."),
            (AnswerForm::Rating, "It is right.\nRating: 7"),
            (AnswerForm::FinalScore, "It is right.\nFinal Score: 7"),
            (AnswerForm::JsonScore, "{\"score\": 7, \"reason\": \"It is right.\"}"),
        ] {
            assert_eq!(written(&scored(7.0), form).as_deref(), Some(text));
        }
        let whole = json!({ "score": 7, "justification": "It is right.\nRating: 7" });
        assert_eq!(written(&whole, AnswerForm::Rating).as_deref(), Some("It is right.\nRating: 7"));
        let graded = json!({ "preference": "second", "strength": "by_far", "justification": "B." });
        assert_eq!(written(&graded, AnswerForm::FiveWay).as_deref(), Some("B.\n[[B>>A]]"));
        let plain = json!({ "preference": "second", "justification": "" });
        assert_eq!(written(&plain, AnswerForm::ThreeWay).as_deref(), Some("[[B]]"));
        assert_eq!(
            [AnswerForm::FiveWay, AnswerForm::TwoScoresLine].map(|form| written(&plain, form)),
            [None, None]
        );
        let both =
            json!({ "preference": "first", "orders": [{ "preference": "first", "scores": [8, 2.5] }, {}] });
        assert_eq!(written(&both, AnswerForm::TwoScoresLine).as_deref(), Some("8 2.5"));
        let tie = json!({ "preference": "tie" });
        assert_eq!(written(&tie, AnswerForm::FiveWay).as_deref(), Some("[[A=B]]"));
        assert_eq!(written(&tie, AnswerForm::ThinkAnswer), None);
    }
}
