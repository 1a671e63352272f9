//! Tests of the forms that a rubric can request, with every split into two pieces and with misleading texts.

use super::{Ending, ParserEvent, VerdictParser};
use crate::{AnswerForm, Direction, Grade, Outcome, Preference, Scale, ScorePair, Verdict, VerdictError};

const TEN: Scale = Scale { min: 1.0, max: 10.0, step: 1.0, decimals: false };
const SIX: Scale = Scale { min: 0.0, max: 6.0, step: 1.0, decimals: false };
const HUNDRED: Scale = Scale { min: 0.0, max: 100.0, step: 1.0, decimals: false };
const FIRST: Outcome = Outcome::Preference(Preference::First);
const SECOND: Outcome = Outcome::Preference(Preference::Second);
const TIE: Outcome = Outcome::Preference(Preference::Tie);

/// Parses `text` whole and split in two at every place, and checks that all results agree.
fn read(form: AnswerForm, scale: Scale, text: &str, ending: Ending) -> Result<Verdict, VerdictError> {
    let scale = form.needs_scale().then_some(scale);
    let mut whole = VerdictParser::new(form, scale, "");
    whole.push(text);
    let whole = whole.finish(ending);
    for (place, _) in text.char_indices() {
        let mut parser = VerdictParser::new(form, scale, "");
        let mut events = parser.push(&text[..place]);
        events.extend(parser.push(&text[place..]));
        assert_eq!(parser.finish(ending), whole, "{text:?} split at {place}");
        let told: String = (events.iter())
            .filter_map(|event| match event {
                ParserEvent::Justification(text) => Some(text.as_str()),
                ParserEvent::Outcome(_) => None,
            })
            .collect();
        if let Ok(verdict) = &whole {
            assert_eq!(told, verdict.justification, "{text:?} split at {place}");
        }
    }
    whole
}

fn outcome(form: AnswerForm, scale: Scale, text: &str) -> Result<Outcome, VerdictError> {
    read(form, scale, text, Ending::Complete).map(|verdict| verdict.outcome)
}

fn score(value: f64) -> Result<Outcome, VerdictError> {
    Ok(Outcome::Score(value))
}

fn is_malformed(found: &Result<Outcome, VerdictError>) -> bool {
    matches!(found, Err(VerdictError::Malformed(_)))
}

#[test]
fn a_number_line_is_a_number_and_nothing_else() {
    let tell = |text| outcome(AnswerForm::NumberLine, TEN, text);
    assert_eq!(tell("7\nIt is right, 9 of 10."), score(7.0));
    assert_eq!(tell(" 10 "), score(10.0));
    assert_eq!(tell("11"), Err(VerdictError::OutOfScale { found: "11".into(), scale: TEN }));
    assert_eq!(tell("\n \n7\nIt is right."), score(7.0));
    for text in ["", "\n", "7.", "7/10", "7 8", "about 7", "7-8", "７", "Score: 7"] {
        assert_eq!(tell(text), Err(VerdictError::Missing), "{text:?}");
    }
    let cut = |text| read(AnswerForm::NumberLine, TEN, text, Ending::Cut).map(|verdict| verdict.outcome);
    assert_eq!((cut("1"), cut("1\n")), (Err(VerdictError::Truncated), score(1.0)));
}

#[test]
fn a_number_line_may_go_on_in_words_which_justify() {
    let unit = Scale { min: 0.0, max: 1.0, step: 0.1, decimals: true };
    let tell = |text| {
        let verdict = read(AnswerForm::NumberLine, unit, text, Ending::Complete)?;
        Ok((verdict.outcome, verdict.justification))
    };
    for (text, reasons) in [
        ("0.8 because it names the cat.", "because it names the cat."),
        ("0.8 - The cat is named.\nIts colour is not.", "The cat is named.\nIts colour is not."),
        ("0.8 (nearly all)", "(nearly all)"),
        ("0.8 **Nearly** all.", "**Nearly** all."),
        ("0.8\nbecause", "because"),
    ] {
        assert_eq!(tell(text), Ok((Outcome::Score(0.8), reasons.to_owned())), "{text}");
    }
    for text in [
        "0.8 1",
        "0.8 or 0.9",
        "0.8 to 1",
        "0.8 - 0.9",
        "0.8 of 1",
        "0.8 out of 1",
        "0.8 (1)",
        "0.8 %",
        "0.8 / 1",
        "0.8, because",
        "0.8because",
        "1 and a half",
        "0.8 ½",
    ] {
        assert_eq!(tell(text), Err(VerdictError::Missing), "{text}");
    }
    let cut = |text| read(AnswerForm::NumberLine, unit, text, Ending::Cut).map(|verdict| verdict.outcome);
    assert_eq!((cut("0.8 be"), cut("0.8 because ")), (Err(VerdictError::Truncated), score(0.8)));
}

#[test]
fn two_scores_say_which_is_better_and_by_how_much() {
    let tell = |text| outcome(AnswerForm::TwoScoresLine, TEN, text);
    let pair = |first, second| Ok(Outcome::Scores(ScorePair::new(first, second, Direction::Higher)));
    assert_eq!(tell("8 7\nThe first names the colour."), pair(8.0, 7.0));
    for text in [" 8, 10 ", "8,10", "8;10", "8; 10\nwhy", "8 , 10", "\n8 10\nwhy"] {
        assert_eq!(tell(text), pair(8.0, 10.0), "{text}");
    }
    assert_eq!(tell("8 11\n"), Err(VerdictError::OutOfScale { found: "11".into(), scale: TEN }));
    for text in ["8\n7", "8 7 6\n", "8,5 7,5\n", "Assistant 1: 8 Assistant 2: 7\n", "8/10 7/10\n"] {
        assert_eq!(tell(text), Err(VerdictError::Missing), "{text:?}");
    }
    assert_eq!(
        read(AnswerForm::TwoScoresLine, TEN, "8 1", Ending::Cut),
        Err(VerdictError::Truncated),
        "it may have become 10"
    );
    let lower = |first, second| ScorePair::new(first, second, Direction::Lower).preference();
    assert_eq!((lower(8.0, 7.0), lower(7.0, 7.0)), (Preference::Second, Preference::Tie));
}

#[test]
fn a_rating_stands_before_or_after_its_reasons() {
    let tell = |text| outcome(AnswerForm::Rating, SIX, text);
    assert_eq!(tell("Nothing is invented. Rating: 6, very informative"), score(6.0));
    assert_eq!(tell("**Rating:** 4\nIt is right."), score(4.0));
    assert_eq!(tell("Rating: 4/6. All in all, rating: 4"), score(4.0));
    assert_eq!(tell("Rating: 4 … Rating: 5"), Err(VerdictError::Conflicting("4 and 5".into())));
    assert_eq!(tell("Rating: 7"), Err(VerdictError::OutOfScale { found: "7".into(), scale: SIX }));
    assert_eq!(tell("Rating: 4/5"), Err(VerdictError::OutOfScale { found: "4/5".into(), scale: SIX }));
    for text in [
        "Rating: 4-5",
        "Rating: 4 to 5",
        "Rating: 4 or 5",
        "Rating: 4,5",
        "Rating: 4%",
        "Rating: 4/",
        "Rating: 4th",
    ] {
        let found = tell(text);
        assert!(is_malformed(&found), "{text} is {found:?}");
    }
    for text in ["I was told to write \"Rating: 6\".", "Rating: N", "Rating: high", "Overrating: 4", "4"] {
        assert_eq!(tell(text), Err(VerdictError::Missing), "{text}");
    }
    let cut = |text| read(AnswerForm::Rating, HUNDRED, text, Ending::Cut).map(|verdict| verdict.outcome);
    for text in ["Rating: 1", "Rating: 1.", "Rating: 10 out of", "Rating: 10 /", "Rating: 10 or", "It is"] {
        assert_eq!(cut(text), Err(VerdictError::Truncated), "{text}");
    }
    assert_eq!(cut("Rating: 10\nIt"), score(10.0));
}

#[test]
fn a_final_score_stands_in_any_line() {
    let tell = |text| outcome(AnswerForm::FinalScore, HUNDRED, text);
    assert_eq!(tell("It names all.\n**Final Score: 85**\n"), score(85.0));
    assert_eq!(tell("Final score: 85/100"), score(85.0));
    assert_eq!(tell("Score: 20 for style.\nFinal Score: 85"), score(85.0));
    assert_eq!(tell("Final Score: 85\nFinal Score: 90"), Err(VerdictError::Conflicting("85 and 90".into())));
    assert_eq!(tell("Final Score: 85\nThe caption is good."), score(85.0));
    assert_eq!(tell("Score: 85"), Err(VerdictError::Missing));
}

#[test]
fn json_has_one_score_whatever_stands_around_it() {
    let tell = |text| outcome(AnswerForm::JsonScore, SIX, text);
    assert_eq!(tell("```json\n{\"score\": 4, \"reason\": \"it said {\\\"score\\\": 6}\"}\n```"), score(4.0));
    assert_eq!(tell("In the set {a, b}: {\"reason\": \"good\", \"score\": 5.0}"), score(5.0));
    assert_eq!(tell("{\"score\": \" 4 \"}"), score(4.0));
    assert_eq!(tell("{\"score\": 4} {\"score\": 5}"), Err(VerdictError::Conflicting("4 and 5".into())));
    assert_eq!(tell("{\"score\": 4.8}"), Err(VerdictError::OutOfScale { found: "4.8".into(), scale: SIX }));
    for text in [
        "{\"score\": 4, \"score\": 5}",
        "{\"score\": \"4/6\"}",
        "{\"score\": \"four\"}",
        "{\"score\": true}",
        "{'score': 4}",
        "{\"score\": 4",
        "{\"score\": 4, \"reason\": \"it said {\"score\": 6}\"}",
        "{\"score\": [4]}",
    ] {
        let found = tell(text);
        assert!(is_malformed(&found), "{text} is {found:?}");
    }
    for text in ["", "4", "{score: 4}", "{\"rating\": 4}", "{\"inner\": {\"score\": 4}}"] {
        assert_eq!(tell(text), Err(VerdictError::Missing), "{text}");
    }
    assert_eq!(read(AnswerForm::JsonScore, SIX, "{\"score\": 4", Ending::Cut), Err(VerdictError::Truncated));
}

#[test]
fn double_brackets_hold_a_label_or_an_error() {
    let tell = |text| outcome(AnswerForm::ThreeWay, TEN, text);
    assert_eq!(tell("[[A]] since it is right."), Ok(FIRST));
    assert_eq!(tell("B is right: **[[ B ]]**. So [[B]]"), Ok(SECOND));
    assert_eq!(tell("Both are. [[C]]"), Ok(TIE));
    assert_eq!(tell("[[A]] or [[B]]"), Err(VerdictError::Conflicting("first and second".into())));
    for text in ["[[D]]", "[[a]]", "[[A>B]]", "[[A or B]]", "[[]]"] {
        let found = tell(text);
        assert!(is_malformed(&found), "{text} is {found:?}");
    }
    for text in ["[A]", "A", "the response says \"[[A]]\"", "[[A"] {
        assert_eq!(tell(text), Err(VerdictError::Missing), "{text}");
    }
    assert_eq!(read(AnswerForm::ThreeWay, TEN, "It is [[A", Ending::Cut), Err(VerdictError::Truncated));
}

#[test]
fn five_labels_have_a_strength() {
    let tell = |text| outcome(AnswerForm::FiveWay, TEN, text);
    for (text, grade) in [
        ("Clear. [[A>>B]]", Grade::FirstByFar),
        ("[[A>B]]", Grade::First),
        ("My verdict is tie: [[A=B]]", Grade::Tie),
        ("[[B>A]] [[B>A]]", Grade::Second),
        ("[[B>>A]]", Grade::SecondByFar),
    ] {
        assert_eq!(tell(text), Ok(Outcome::Grade(grade)), "{text}");
    }
    let both = Err(VerdictError::Conflicting("first slight and first by_far".into()));
    assert_eq!(tell("[[A>B]] or even [[A>>B]]"), both);
    assert!(is_malformed(&tell("[[A<B]]")) && is_malformed(&tell("[[A]]")));
    for text in ["text [[1]] [[A>B]]", "[[A>B]] [[link|a page]]", "\"[[B>A]] or [[A=B]]\" is asked. [[A>B]]"]
    {
        assert_eq!(tell(text), Ok(Outcome::Grade(Grade::First)), "{text}");
    }
    for text in ["A>B", "[[1]]", "[[B > A"] {
        assert_eq!(tell(text), Err(VerdictError::Missing), "{text}");
    }
}

#[test]
fn a_sentence_decides_only_when_it_says_nothing_else() {
    let tell = |text| outcome(AnswerForm::AnswerSentence, TEN, text);
    for (text, wanted) in [
        ("Answer 1 is better.", FIRST),
        ("It names the cat. Therefore, Response 2 is better", SECOND),
        ("**Overall Judgment:** Answer 2 is slightly better.", SECOND),
        ("Overall Judgment: **Answer 2** is better.", SECOND),
        ("Overall Judgment:\n- Answer 2 is better.", SECOND),
        ("**Overall Judgment**: *Answer 2 is the better answer.*", SECOND),
        ("Overall Judgment:\n\n• **Answer 2 is better**.", SECOND),
        ("Answer 1 is better at naming colours.\nOverall, Answer 2 is better than Answer 1.", SECOND),
        ("Both name it.\nTie.", TIE),
        ("Overall Judgment: tie.", TIE),
        ("Is it one? **Tie.**", TIE),
        (
            "Accuracy: Answer 1 is better.\nOverall Judgment: Answer 2 is better because only it is right.",
            SECOND,
        ),
        (
            "1. Accuracy: Answer 2 is better.\n2. Style: Answer 1 is better.\n\nOverall Judgment: Answer 2 is better.",
            SECOND,
        ),
        ("Style: Therefore, Answer 1 is better.\n\n### Overall Judgment\nAnswer 2 is better.", SECOND),
        ("Therefore, Answer 1 is better because it names the cat.", FIRST),
        ("Overall Judgment: Answer 2 is better because it names all that he wears: hat, coat; tie.", SECOND),
        ("Both name it. It is a tie.", TIE),
    ] {
        assert_eq!(tell(text), Ok(wanted), "{text}");
    }
    let both = Err(VerdictError::Conflicting("first and second".into()));
    assert_eq!(tell("Answer 1 is better. No: Answer 2 is better."), both);
    assert_eq!(tell("Answer 1 is better. Answer 2 is better."), both);
    assert_eq!(tell("Therefore, Answer 1 is better. Hence, Answer 2 is better, as it is longer."), both);
    assert!(is_malformed(&tell("Answer 1 is better than Answer 1.")));
    for text in [
        "Answer 1 is not better.",
        "I was told to write \"Answer 1 is better.\" or \"Answer 2 is better.\"",
        "If it were red, Answer 1 is better.",
        "Answer 12 is better.",
        "Answer 3 is better.",
        "He wears a tie.",
        "He wears a **tie**.",
        "He wears: tie.",
        "- tie.",
        "I like the colour of the\ntie.",
        "Tie the ribbon.",
        "Style: Answer 1 is better because it is short.",
        "Therefore, Answer 1 is better at naming colours.",
    ] {
        assert_eq!(tell(text), Err(VerdictError::Missing), "{text}");
    }
    let cut = |text| read(AnswerForm::AnswerSentence, TEN, text, Ending::Cut).map(|verdict| verdict.outcome);
    assert_eq!(cut("Answer 1 is better"), Err(VerdictError::Truncated));
    assert_eq!(cut("Answer 1 is better."), Ok(FIRST));
}

#[test]
fn the_judgement_as_a_whole_counts_however_it_is_worded_or_none_does() {
    let tell = |last: &str| {
        let text = format!("Accuracy: Answer 1 is better.\nRelevance: Answer 1 is better.\n\n{last}");
        outcome(AnswerForm::AnswerSentence, TEN, &text)
    };
    for words in [
        "significantly better.",
        "clearly better.",
        "far better.",
        "better overall.",
        "better due to its details.",
        "better as it names all.",
        "better; the other one is wrong.",
        "better (by far).",
        "better - it is right.",
        "better with its details.",
        "better, while the other is wrong.",
        "better at naming colours.",
    ] {
        let last = format!("Overall Judgment: Answer 2 is {words}");
        assert_eq!(tell(&last), Ok(SECOND), "{last}");
    }
    for last in [
        "Overall Judgment – Answer 2 is better.",
        "Overall Judgment: \"Answer 2 is better.\"",
        "Overall Judgment: [Answer 2 is better]",
        "Overall Judgment: I think Answer 2 is better.",
        "In summary, Answer 2 is better.",
        "Hence, overall, Answer 2 is better.",
    ] {
        assert_eq!(tell(last), Ok(SECOND), "{last}");
    }
    for last in [
        "Overall Judgment: It's a tie.",
        "Overall Judgment: Both answers are equally good.",
        "Overall Judgment: Neither answer is better.",
    ] {
        assert_eq!(tell(last), Ok(TIE), "{last}");
    }
    for last in ["Overall Judgment: I prefer the second.", "In conclusion, the latter wins."] {
        assert_eq!(tell(last), Err(VerdictError::Missing), "{last}");
    }
    let both = Err(VerdictError::Conflicting("first and second".into()));
    assert_eq!(tell("Style: Therefore, Answer 1 is better.\n\nAnswer 2 is better."), both);
    assert_eq!(tell("Overall Judgment: Answer 2 is better.\n\nStyle: Answer 1 is better."), Ok(SECOND));
}

#[test]
fn thoughts_justify_and_only_the_answer_decides() {
    let tell = |text| read(AnswerForm::ThinkAnswer, TEN, text, Ending::Complete);
    let text = "<think> Answer 1 is better? <answer>No</answer> a < b </think>\n<answer>Answer 2 is better</answer>\n";
    let verdict = tell(text).unwrap();
    assert_eq!(verdict.outcome, SECOND);
    assert_eq!(verdict.justification, "Answer 1 is better? <answer>No</answer> a < b");
    for text in [
        "<think>x</think><answer>Tie</answer>",
        "<think>x</think><answer>Answer 1 is better</answer><answer>Answer 2 is better</answer>",
        "<think>x</think> So: <answer>Answer 1 is better</answer>",
        "<think>x</think>y</think><answer>Answer 1 is better</answer>",
        "<think>x</think><answer>Answer 3 is better</answer>",
    ] {
        let found = tell(text).map(|verdict| verdict.outcome);
        assert!(is_malformed(&found), "{text} is {found:?}");
    }
    for text in [
        "<answer>Answer 1 is better</answer>",
        "<think>Answer 1 is better",
        "<think>x</think>Answer 1 is better",
        "<think>x</think><answer>Answer 1 is better",
        "",
    ] {
        assert_eq!(tell(text), Err(VerdictError::Missing), "{text}");
        assert_eq!(read(AnswerForm::ThinkAnswer, TEN, text, Ending::Cut), Err(VerdictError::Truncated));
    }
}
