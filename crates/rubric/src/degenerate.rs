//! Responses without an answer, and the verdicts on them that need no critic.

use crate::{Case, CaseField, Direction, Outcome, Preference, Responses, Rubric, invisible::is_blank};

/// Announcements of an answer that contain no answer, in lower case. Some judges are known to give such texts high
/// scores (arXiv 2507.08794).
const ANNOUNCEMENTS: [&str; 7] = [
    "thought process",
    "let's solve this problem step by step",
    "let us solve this problem step by step",
    "solution",
    "解",
    "かいせつ",
    "respuesta",
];

/// The verdict on degenerate responses, decided without the critic: the worst score for a single one, the win of
/// the other response in a pair, and a tie of two degenerate ones. `None` when no response is degenerate, or a
/// pointwise rubric has no scale.
pub fn certain_outcome(case: &Case, rubric: &Rubric) -> Option<Outcome> {
    let degenerate = |text: &str| is_degenerate(text, case);
    match &case.responses {
        Responses::One(response) if degenerate(response) => rubric.scale.map(|scale| {
            Outcome::Score(match rubric.direction {
                Direction::Higher => scale.min,
                Direction::Lower => scale.max,
            })
        }),
        Responses::One(_) => None,
        Responses::Pair(first, second) => match (degenerate(first), degenerate(second)) {
            (true, true) => Some(Outcome::Preference(Preference::Tie)),
            (true, false) => Some(Outcome::Preference(Preference::Second)),
            (false, true) => Some(Outcome::Preference(Preference::First)),
            (false, false) => None,
        },
    }
}

/// Whether a response contains no answer. A response equal to the reference answer is never degenerate.
pub(crate) fn is_degenerate(response: &str, case: &Case) -> bool {
    let said = response.trim_matches(|c: char| !is_content(c));
    // The length is checked first, so that a long response is not copied: no announcement exceeds 100 bytes, in
    // upper or lower case.
    let announces = said.len() <= 100 && ANNOUNCEMENTS.contains(&said.to_lowercase().as_str());
    let right = case.field(CaseField::Reference).is_some_and(|right| right.trim() == response.trim());
    (said.is_empty() || announces) && !right
}

/// Whether a character can be part of an answer, which excludes white space, control characters, punctuation and
/// characters that show nothing. Emoji and other symbols can be.
fn is_content(c: char) -> bool {
    let punctuation = c.is_ascii_punctuation()
        || matches!(
            c,
            '\u{00a1}' | '\u{00a7}' | '\u{00ab}' | '\u{00b6}' | '\u{00b7}' | '\u{00bb}' | '\u{00bf}'
        )
        || matches!(c, '\u{2010}'..='\u{205e}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}')
        || matches!(c, '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}' | '\u{ff3b}'..='\u{ff40}' | '\u{ff5b}'..='\u{ff65}');
    !(c.is_whitespace() || c.is_control() || punctuation || is_blank(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flag, Kind, Scale};

    fn case(responses: Responses) -> Case {
        Case::new("What is shown?", responses)
    }

    fn one(response: &str) -> Case {
        case(Responses::One(response.into()))
    }

    fn rubric(kind: Kind) -> Rubric {
        let scale =
            (kind == Kind::Pointwise).then_some(Scale { min: 1.0, max: 5.0, step: 1.0, decimals: false });
        Rubric::inline(kind, "c".into(), scale).unwrap()
    }

    #[test]
    fn texts_without_a_word_get_the_worst_score() {
        let rubric = rubric(Kind::Pointwise);
        let lower = Rubric { direction: Direction::Lower, ..rubric.clone() };
        for nothing in [
            " \n",
            ":",
            ".",
            "…",
            "¿?",
            "\u{200b}",
            "。",
            "```\n```",
            "Thought process:",
            " Solution",
            "解",
            "かいせつ",
            "\u{180e}\u{180e}",
            "\u{ffa0}",
            "\u{1d173}\u{1d17a}",
            "\u{17b4}",
            "\u{fffc}.",
            "\u{fffd}\u{fffd}",
            "\u{2800}\u{2800}",
            "\u{3164} \u{115f}\u{1160}",
            "\u{034f}",
            "\u{200d}\u{fe0f}",
        ] {
            assert_eq!(certain_outcome(&one(nothing), &rubric), Some(Outcome::Score(1.0)), "{nothing:?}");
            assert_eq!(certain_outcome(&one(nothing), &lower), Some(Outcome::Score(5.0)), "{nothing:?}");
            assert!(Flag::of(&one(nothing), &rubric).contains(&Flag::Degenerate), "{nothing:?}");
        }
        for something in [
            "7",
            "No.",
            "✓",
            "犬",
            "α",
            "The solution",
            "Thought process: it is a cat.",
            "❤\u{fe0f}",
            "\u{2801}",
        ] {
            assert_eq!(certain_outcome(&one(something), &rubric), None, "{something:?}");
            assert_eq!(Flag::of(&one(something), &rubric), [], "{something:?}");
        }
    }

    #[test]
    fn what_is_right_is_never_degenerate() {
        let sign = Case { reference: Some("?".into()), ..one("?") };
        assert_eq!(
            (certain_outcome(&sign, &rubric(Kind::Pointwise)), Flag::of(&sign, &rubric(Kind::Pointwise))),
            (None, vec![])
        );
    }

    #[test]
    fn of_two_the_one_that_says_something_wins() {
        let decided = |first: &str, second: &str| {
            let pair = case(Responses::Pair(first.into(), second.into()));
            certain_outcome(&pair, &rubric(Kind::Pairwise)).and_then(Outcome::preference)
        };
        assert_eq!(decided(":", "A cat."), Some(Preference::Second));
        assert_eq!(decided("A cat.", ":"), Some(Preference::First));
        assert_eq!(decided(" ", "..."), Some(Preference::Tie));
        assert_eq!(decided("A cat.", "A dog."), None);
    }
}
