//! Tests of texts and their verdicts.

use super::{Ending, ParserEvent, VerdictParser};
use crate::{AnswerForm, Outcome, Preference, Scale, Verdict, VerdictError};

const TEN: Scale = Scale { min: 0.0, max: 10.0, step: 1.0, decimals: false };
const HUNDRED: Scale = Scale { min: 0.0, max: 100.0, step: 1.0, decimals: false };

/// Parses `text` after `reply` at once and one character at a time, checks that both agree, and returns the
/// verdict.
fn read(
    form: AnswerForm,
    scale: Option<Scale>,
    reply: &str,
    text: &str,
    ending: Ending,
) -> Result<Verdict, VerdictError> {
    let mut whole = VerdictParser::new(form, scale, reply);
    let all_at_once = whole.push(text);
    let mut split = VerdictParser::new(form, scale, reply);
    let one_by_one: Vec<_> =
        text.chars().flat_map(|character| split.push(character.encode_utf8(&mut [0; 4]))).collect();
    let (whole, split) = (whole.finish(ending), split.finish(ending));
    assert_eq!(whole, split, "{text:?}");
    for events in [all_at_once, one_by_one] {
        let justification: String = (events.iter())
            .filter_map(|event| match event {
                ParserEvent::Justification(text) => Some(text.as_str()),
                ParserEvent::Outcome(_) => None,
            })
            .collect();
        if let Ok(verdict) = &whole {
            assert_eq!(justification, verdict.justification, "{text:?}");
            let told = events.iter().find_map(|event| match event {
                ParserEvent::Outcome(outcome) => Some(*outcome),
                ParserEvent::Justification(_) => None,
            });
            assert!(told.is_none_or(|outcome| outcome == verdict.outcome), "{text:?}");
        }
    }
    whole
}

fn score(form: AnswerForm, reply: &str, text: &str, scale: Scale) -> Result<(f64, String), VerdictError> {
    read(form, Some(scale), reply, text, Ending::Complete).map(|verdict| match verdict.outcome {
        Outcome::Score(score) => (score, verdict.justification),
        other => panic!("a score was asked for, not {other:?}"),
    })
}

fn preference(form: AnswerForm, text: &str) -> Result<Preference, VerdictError> {
    read(form, None, "", text, Ending::Complete).map(|verdict| match verdict.outcome {
        Outcome::Preference(preference) => preference,
        other => panic!("a preference was asked for, not {other:?}"),
    })
}

#[test]
fn a_score_line_continues_the_reply_and_the_rest_justifies() {
    let read = |text| score(AnswerForm::ScoreLine, "Score:", text, TEN);
    assert_eq!(
        read(" 7\n\nIt names  the colour.\n It is right. \n").unwrap(),
        (7.0, "It names  the colour.\n It is right.".into())
    );
    assert_eq!(read(" 10").unwrap(), (10.0, String::new()));
    assert_eq!(read(" 0\n").unwrap(), (0.0, String::new()));
    assert_eq!(read(" seven\nwhy"), Err(VerdictError::Missing));
    assert_eq!(read(" 7 or 8\nwhy"), Err(VerdictError::Missing));
    assert_eq!(read(" 11\nwhy"), Err(VerdictError::OutOfScale { found: "11".into(), scale: TEN }));
    assert_eq!(read(" 7.5\nwhy"), Err(VerdictError::OutOfScale { found: "7.5".into(), scale: TEN }));
    assert_eq!(read(" -1\nwhy"), Err(VerdictError::OutOfScale { found: "-1".into(), scale: TEN }));
    assert_eq!(read(""), Err(VerdictError::Missing));
}

#[test]
fn a_better_line_names_one_or_neither() {
    let read = |text| preference(AnswerForm::BetterLine, text);
    assert_eq!(read("Better: 1\nwhy").unwrap(), Preference::First);
    assert_eq!(read("Better: 2\nwhy").unwrap(), Preference::Second);
    assert_eq!(read("Better: tie").unwrap(), Preference::Tie);
    assert_eq!(read("Better: 3\nwhy"), Err(VerdictError::Missing));
    assert_eq!(read("1\nBetter: 2"), Err(VerdictError::Missing));
}

#[test]
fn a_bracketed_score_stands_anywhere_and_must_be_the_only_one() {
    let read = |text| score(AnswerForm::BracketedScore, "", text, HUNDRED);
    assert_eq!(
        read(" The colour is right. Score: [85]. ").unwrap(),
        (85.0, "The colour is right. Score: [85].".into())
    );
    assert_eq!(read("Score: 85\nFinal score: [85/100]").unwrap().0, 85.0);
    assert_eq!(read("**Score:** [ 85 ] because").unwrap().0, 85.0);
    assert_eq!(read("score: 90 out of 100").unwrap().0, 90.0);
    assert_eq!(read("Score: [80] … Score: [85]"), Err(VerdictError::Conflicting("80 and 85".into())));
    assert_eq!(read("Score: 8/10"), Err(VerdictError::OutOfScale { found: "8/10".into(), scale: HUNDRED }));
    for whole in [
        "Score: 85 (out of 100)",
        "Score: [85] of 100",
        "Score: [85] (85/100)",
        "Score: [85] - 2 errors",
        "Score: **85**/100",
        "**Score: 85** out of 100",
        "Score: 85 points (out of a possible 100)",
        "Score: 85 on a scale of 0 to 100",
        "Score: 85\n- 2 of the objects are named",
        "Score: [85]\n\nOut of 5 claims, 4 are right.",
        "Score: 85\n\nOf 12 facts, 10 are right.",
        "Score: 85—The response is right",
        "Score: 85, 2 errors",
        "Score: [85]; 90 would need the colour.",
        "**Score**: **85** - 2 errors",
    ] {
        assert_eq!(read(whole).unwrap().0, 85.0, "{whole}");
    }
    for other in [
        "Score: 8 (out of 10)",
        "Score: 8 of 10",
        "Score: [8] out of [10]",
        "Score: **8**/10",
        "**Score: 8**/10",
        "**Score: 8** out of 10",
        "Score: *8*/10",
        "Score: 8 stars out of 10",
        "Score: 8 points (out of 10)",
        "Score: 8 on a scale of 1 to 10",
    ] {
        let found = "8/10".to_owned();
        assert_eq!(read(other), Err(VerdictError::OutOfScale { found, scale: HUNDRED }), "{other}");
    }
    for range in [
        "Score: [70] to 90",
        "Score: [70] or [90]",
        "Score: [70]-90",
        "Score: [70]–[90]",
        "Score: 70 (out of",
        "Score: 70 – 90",
        "Score: 70−90",
        "Score: 70 ~ 90",
        "Score: **70**–**90**",
        "Score: 70 vs 90",
        "Score: [70, 90]",
        "Score: [70; 90]\nIt is right.",
        "Score: 70 .. 90",
        "Score: 70...90",
        "Score: [70] [90]",
        "Score: 70, 80 or 90",
    ] {
        assert!(matches!(read(range), Err(VerdictError::Malformed(_))), "{range}: {:?}", read(range));
    }
    assert_eq!(read("Score: [101]"), Err(VerdictError::OutOfScale { found: "101".into(), scale: HUNDRED }));
    assert_eq!(read("I scored it 85."), Err(VerdictError::Missing));
}

#[test]
fn a_bracketed_preference_takes_every_label_and_the_tie_sentence() {
    let read = |text| preference(AnswerForm::BracketedPreference, text);
    for (text, wanted) in [
        ("The better response: [first]. It is right.", Preference::First),
        ("Because of that, the better response: [ 2 ]", Preference::Second),
        ("the better response: [A]", Preference::First),
        ("The better response: [b] … The better response: [second]", Preference::Second),
        ("Two responses are equally good.", Preference::Tie),
        ("Both name the cat. Both responses are equally good", Preference::Tie),
    ] {
        assert_eq!(read(text).unwrap(), wanted, "{text}");
    }
    let both = "The better response: [first]. The better response: [second].";
    assert_eq!(read(both), Err(VerdictError::Conflicting("first and second".into())));
    let tie_and_one = "Two responses are equally good. The better response: [1]";
    assert_eq!(read(tie_and_one), Err(VerdictError::Conflicting("first and tie".into())));
    for text in ["The better response: a long one", "The two responses are not equally good", ""] {
        assert_eq!(read(text), Err(VerdictError::Missing), "{text}");
    }
}

#[test]
fn a_cut_text_is_a_verdict_only_when_that_was_whole() {
    let cut = |form, scale, text| read(form, scale, "", text, Ending::Cut);
    assert_eq!(cut(AnswerForm::BracketedScore, Some(HUNDRED), "Score: 8"), Err(VerdictError::Truncated));
    assert_eq!(cut(AnswerForm::BracketedScore, Some(HUNDRED), "It is"), Err(VerdictError::Truncated));
    assert_eq!(cut(AnswerForm::ScoreLine, Some(TEN), "Score: 1"), Err(VerdictError::Truncated));
    assert_eq!(cut(AnswerForm::BetterLine, None, "Bet"), Err(VerdictError::Truncated));
    let verdict = cut(AnswerForm::ScoreLine, Some(TEN), "Score: 1\nIt nam").unwrap();
    assert_eq!((verdict.outcome, verdict.justification.as_str()), (Outcome::Score(1.0), "It nam"));
    assert!(cut(AnswerForm::BracketedScore, Some(HUNDRED), "Score: [80] since").is_ok());
    for text in [
        "Score: **8**",
        "Score: 8 points",
        "Score: 8 points (out o",
        "Score: 8 on a scale of 1 t",
        "Score: 8 vs",
    ] {
        assert_eq!(
            cut(AnswerForm::BracketedScore, Some(HUNDRED), text),
            Err(VerdictError::Truncated),
            "{text}"
        );
    }
}

#[test]
fn the_decision_of_a_first_line_is_told_before_the_text_ends() {
    let mut parser = VerdictParser::new(AnswerForm::ScoreLine, Some(TEN), "Score:");
    assert_eq!(parser.push(" 4"), []);
    assert_eq!(parser.push("\n"), [ParserEvent::Outcome(Outcome::Score(4.0))]);
    assert_eq!(parser.push(" One "), [ParserEvent::Justification("One".into())]);
    assert_eq!(parser.push("two"), [ParserEvent::Justification(" two".into())]);
}
