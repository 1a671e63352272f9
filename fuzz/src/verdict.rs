//! A critic's text: however it is split, it parses to the same verdict, which is on the scale, or to the same error.

use rubric::{
    AnswerForm, Direction, Ending, Outcome, ParserEvent, Scale, Verdict, VerdictError, VerdictParser,
};

use super::bytes::Bytes;

/// Forms that name the better of two responses.
const COMPARES: [AnswerForm; 6] = [
    AnswerForm::BetterLine,
    AnswerForm::BracketedPreference,
    AnswerForm::ThreeWay,
    AnswerForm::FiveWay,
    AnswerForm::AnswerSentence,
    AnswerForm::ThinkAnswer,
];

const SCALES: [Scale; 4] = [
    Scale { min: 1.0, max: 10.0, step: 1.0, decimals: false },
    Scale { min: 0.0, max: 1.0, step: 0.1, decimals: false },
    Scale { min: -5.0, max: 5.0, step: 0.5, decimals: false },
    Scale { min: 0.0, max: 100.0, step: 1.0, decimals: true },
];

/// Parses `text` in the pieces that end at `cuts`; returns the result, the streamed justification and the early
/// outcome.
fn read(
    parser: &VerdictParser,
    ending: Ending,
    text: &str,
    cuts: &[usize],
) -> (Result<Verdict, VerdictError>, String, Option<Outcome>) {
    let mut parser = parser.clone();
    let (mut told, mut early, mut start) = (String::new(), None, 0);
    for cut in cuts.iter().copied().chain([text.len()]) {
        for event in parser.push(&text[start..cut]) {
            match event {
                ParserEvent::Justification(more) => told += &more,
                ParserEvent::Outcome(outcome) => assert!(early.replace(outcome).is_none(), "decided twice"),
            }
        }
        start = cut;
    }
    (parser.finish(ending), told, early)
}

/// Panics when the verdict depends on how the text is split, or is not one that the form and the scale allow.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let form = AnswerForm::ALL[bytes.below(AnswerForm::ALL.len())];
    let options = bytes.byte();
    let scale = SCALES[usize::from(options & 3)];
    let ending = if options & 4 == 0 { Ending::Complete } else { Ending::Cut };
    let direction = if options & 8 == 0 { Direction::Higher } else { Direction::Lower };
    let seed = bytes.byte();
    let text = bytes.text();
    let parser = VerdictParser::new(form, (options & 16 == 0).then_some(scale), "").in_direction(direction);

    let (whole, told, early) = read(&parser, ending, &text, &[]);
    let every: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
    // Between characters, since the bytes of tokens are joined to whole characters before they are parsed.
    let some: Vec<usize> =
        every.iter().copied().filter(|place| (place * 31 + usize::from(seed)).is_multiple_of(5)).collect();
    for cuts in [&every, &some] {
        let pieces = read(&parser, ending, &text, cuts);
        assert_eq!(pieces.0, whole, "{form:?} of {text:?} depends on its pieces");
        assert_eq!(pieces.2, early, "{form:?} of {text:?} is decided early or not by its pieces");
        if whole.is_ok() {
            assert_eq!(pieces.1, told, "{form:?} of {text:?} tells other reasons");
        }
    }
    let Ok(verdict) = whole else { return };
    assert_eq!(told, verdict.justification, "{form:?} of {text:?}");
    assert!(early.is_none_or(|early| early == verdict.outcome), "{form:?} of {text:?} is decided twice");
    let on_scale = |score: f64| score.is_finite() && scale.contains(score);
    let allowed = match verdict.outcome {
        Outcome::Score(score) => !COMPARES.contains(&form) && on_scale(score),
        Outcome::Scores(pair) => form == AnswerForm::TwoScoresLine && pair.scores().into_iter().all(on_scale),
        Outcome::Preference(_) => COMPARES.contains(&form),
        Outcome::Grade(_) => form == AnswerForm::FiveWay,
    };
    assert!(allowed, "{form:?} of {text:?} is {:?}", verdict.outcome);
}
