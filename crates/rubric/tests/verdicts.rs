//! Tests on a corpus of texts that a critic may write: the result does not depend on the split into pieces, and is
//! never a guess.

use std::time::{Duration, Instant};

use rubric::{AnswerForm, Ending, Outcome, ParserEvent, Preference, Scale, VerdictError, VerdictParser};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    form: AnswerForm,
    scale: Option<[f64; 3]>,
    #[serde(default)]
    cut: bool,
    text: Vec<String>,
    expect: toml::Value,
}

/// Whether a form needs a scale in these tests.
fn with_scale(form: AnswerForm) -> bool {
    use AnswerForm as Form;
    !matches!(
        form,
        Form::BetterLine
            | Form::BracketedPreference
            | Form::ThreeWay
            | Form::FiveWay
            | Form::AnswerSentence
            | Form::ThinkAnswer
    )
}

/// The outcome of a text that is parsed in pieces.
fn read<'a>(
    (form, scale): (AnswerForm, Option<Scale>),
    pieces: impl IntoIterator<Item = &'a str>,
    ending: Ending,
) -> Result<Outcome, VerdictError> {
    let mut parser = VerdictParser::new(form, scale, "");
    for piece in pieces {
        parser.push(piece);
    }
    parser.finish(ending).map(|verdict| verdict.outcome)
}

fn name(outcome: &Result<Outcome, VerdictError>) -> String {
    match outcome {
        Ok(Outcome::Score(score)) => score.to_string(),
        Ok(Outcome::Preference(Preference::First)) => "first".into(),
        Ok(Outcome::Preference(Preference::Second)) => "second".into(),
        Ok(Outcome::Preference(Preference::Tie)) => "tie".into(),
        Ok(other) => format!("{other:?}"),
        Err(VerdictError::Missing) => "missing".into(),
        Err(VerdictError::Conflicting(_)) => "conflicting".into(),
        Err(VerdictError::Malformed(_)) => "malformed".into(),
        Err(VerdictError::OutOfScale { .. }) => "out_of_scale".into(),
        Err(VerdictError::Truncated) => "truncated".into(),
    }
}

#[test]
fn every_text_of_the_corpus_is_read_as_it_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/verdicts/verdicts.toml");
    let file: File = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut texts = 0;
    for Case { id, form, scale, cut, text, expect } in file.case {
        let scale = scale.map(|[min, max, step]| Scale { min, max, step, decimals: false });
        let ending = if cut { Ending::Cut } else { Ending::Complete };
        for text in text {
            let whole = read((form, scale), [text.as_str()], ending);
            for (place, _) in text.char_indices() {
                let split = read((form, scale), [&text[..place], &text[place..]], ending);
                assert_eq!(split, whole, "{id}: {text:?} at {place}");
            }
            let letters: Vec<String> = text.chars().map(String::from).collect();
            assert_eq!(
                read((form, scale), letters.iter().map(String::as_str), ending),
                whole,
                "{id}: {text:?}"
            );
            match expect.as_str() {
                Some("none") => assert!(whole.is_err(), "{id}: {text:?} gave {}", name(&whole)),
                Some(expected) => assert_eq!(name(&whole), expected, "{id}: {text:?}"),
                None => assert_eq!(name(&whole), expect.to_string(), "{id}: {text:?}"),
            }
            texts += 1;
        }
    }
    assert!(texts > 50, "{texts} texts");
}

/// The next number of a pseudo-random sequence (xorshift).
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 33) as usize
}

#[test]
fn no_text_gives_a_verdict_outside_of_the_grammar() {
    let pieces = [
        "Score:",
        " ",
        "7",
        "11",
        "-",
        ".",
        "[",
        "]",
        "\n",
        "Better:",
        "1",
        "2",
        "tie",
        "{\"score\":",
        "}",
        "\"",
        "A",
        "B",
        ">",
        "Rating:",
        "Final Score:",
        "the better response:",
        "first",
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "Answer 1 is better",
        "/10",
        "two responses are equally good",
        "because ",
        " - ",
        "[[A>B]]",
        "[first]",
        "\\boxed{1}",
        "é",
        "\u{301}",
        "\0",
        "７",
        "\u{202e}",
    ];
    let scale = Scale { min: 1.0, max: 10.0, step: 1.0, decimals: false };
    let mut state = 1;
    for _ in 0..20_000 {
        let count = next(&mut state) % 12;
        let text: Vec<&str> = (0..count).map(|_| pieces[next(&mut state) % pieces.len()]).collect();
        for form in AnswerForm::ALL {
            let scale = with_scale(form).then_some(scale);
            for ending in [Ending::Complete, Ending::Cut] {
                if let Ok(Outcome::Score(score)) = read((form, scale), text.iter().copied(), ending) {
                    let step = (score - 1.0).fract();
                    assert!(
                        (1.0..=10.0).contains(&score) && step == 0.0,
                        "{form:?} read {score} in {text:?}"
                    );
                }
            }
        }
    }
}

/// The decision and justification reported while the text is written must equal those of the final verdict, here
/// for random sequences of numbers and words.
#[test]
fn what_was_told_on_the_way_is_what_the_verdict_says() {
    let pieces =
        ["7", " ", "8", "-", "\n", "it", "or", "(", ".", ",", "Score:", "Better: 1", "\t", "–", "of"];
    let scale = Scale { min: 1.0, max: 10.0, step: 1.0, decimals: true };
    let mut state = 7;
    let mut verdicts = 0;
    for _ in 0..50_000 {
        let count = next(&mut state) % 9;
        let text: Vec<&str> = (0..count).map(|_| pieces[next(&mut state) % pieces.len()]).collect();
        for form in AnswerForm::ALL.into_iter().filter(|form| form.decides_first()) {
            for ending in [Ending::Complete, Ending::Cut] {
                let mut parser = VerdictParser::new(form, with_scale(form).then_some(scale), "");
                let (mut told, mut early) = (String::new(), None);
                for event in text.iter().flat_map(|piece| parser.push(piece)) {
                    match event {
                        ParserEvent::Justification(more) => told += &more,
                        ParserEvent::Outcome(outcome) => assert!(early.replace(outcome).is_none()),
                    }
                }
                let read = parser.finish(ending);
                assert!(early.is_none() || read.is_ok(), "{form:?} of {text:?}: {read:?}");
                if let Ok(verdict) = read {
                    assert_eq!(told, verdict.justification, "{form:?} of {text:?}");
                    assert!(early.is_none_or(|early| early == verdict.outcome), "{form:?} of {text:?}");
                    verdicts += 1;
                }
            }
        }
    }
    assert!(verdicts > 1000, "{verdicts} verdicts");
}

#[test]
fn a_long_text_takes_no_longer_than_its_length() {
    let scale = Scale { min: 1.0, max: 10.0, step: 1.0, decimals: false };
    for piece in [
        "[",
        "{",
        "Score: [",
        "<think>",
        "\n",
        "[[A",
        "{\"score\": 1",
        "*",
        "\"a",
        "“",
        "`a ",
        "[first]\n",
        "not ",
        "two responses are equally good ",
        "equally good\n",
        "The first response is better than ",
        "\\boxed{1",
        "answer 1 is better \n",
        "1 ",
        "\n ",
    ] {
        let text = piece.repeat((1 << 20) / piece.len());
        for form in AnswerForm::ALL {
            let start = Instant::now();
            let _ = read((form, with_scale(form).then_some(scale)), [text.as_str()], Ending::Complete);
            // Linear work takes a few milliseconds, quadratic work hours.
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{form:?} and {piece:?}: {:?}",
                start.elapsed()
            );
        }
    }
}
