//! Responses without an answer, and the verdicts on them that need no critic.

use std::sync::LazyLock;

use regex::Regex;

use crate::{Case, CaseField, Direction, Outcome, Preference, Responses, Rubric, invisible::BLANK};

/// Announcements of an answer that contain no answer, in lower case, which need no colon. Some judges are known to give
/// such texts high scores (arXiv 2507.08794).
const ANNOUNCEMENTS: [&str; 7] = [
    "thought process",
    "let's solve this problem step by step",
    "let us solve this problem step by step",
    "solution",
    "解",
    "かいせつ",
    "respuesta",
];

/// The maximum length of an announcement in words. In scripts without spaces, two characters count as a word.
const MOST_WORDS: usize = 8;

/// The maximum length of an announcement in bytes: more than that many words have.
const MOST_BYTES: usize = 160;

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

/// Whether a response contains no answer: it has no content, or only announces an answer. A response equal to the
/// reference answer is never degenerate.
pub(crate) fn is_degenerate(response: &str, case: &Case) -> bool {
    let right = || case.field(CaseField::Reference).is_some_and(|right| right.trim() == response.trim());
    let says_nothing = CONTENT.find(response).is_none_or(|first| announces(&response[first.start()..]));
    says_nothing && !right()
}

/// Whether a text that begins with content announces an answer and ends without one: one line of a few words with a
/// colon at its end, or a known announcement. After "7:" or "B:" nothing needs to follow: a number or an option is an
/// answer.
fn announces(text: &str) -> bool {
    // The length is checked first, so that a long text is not read twice.
    let bound = text.floor_char_boundary(MOST_BYTES);
    if CONTENT.find_at(text, bound).is_some() {
        return false;
    }
    let end = CONTENT.find_iter(&text[..bound]).last().map_or(0, |last| last.end());
    let (said, rest) = text.split_at(end);
    let has_words = said.chars().any(char::is_alphabetic) && !OPTION.is_match(said);
    let few = !said.contains([':', '：', '\n']) && word_count(said) <= MOST_WORDS;
    (has_words && few && COLON.is_match(rest)) || ANNOUNCEMENTS.contains(&said.to_lowercase().as_str())
}

/// The number of words; two ideographs, kana or letters of other scripts without spaces count as one.
fn word_count(text: &str) -> usize {
    let letters = |word: &str| UNSPACED.find_iter(word).count();
    text.split_whitespace().map(|word| letters(word).div_ceil(2).max(1)).sum()
}

/// A character that can be part of an answer. These cannot: white space, control characters, punctuation, and the
/// symbols of ASCII; combining marks and modifiers without a letter; lines and blocks of which boxes are drawn; and
/// characters that show nothing. Emoji, other mathematical signs, shapes and stars can be the answer to what is shown.
static CONTENT: LazyLock<Regex> = LazyLock::new(|| {
    let fullwidth = r"\x{ff04}\x{ff0b}\x{ff1c}-\x{ff1e}\x{ff5c}\x{ff5e}";
    regex(&format!(
        r"[^\s\p{{Cc}}\p{{P}}$+<=>|~{fullwidth}\x{{2044}}\x{{2052}}\p{{Mn}}\p{{Mc}}\p{{Sk}}\x{{2500}}-\x{{259f}}{BLANK}]"
    ))
});

/// The rest of a text that ends in a colon, whatever closes quotations or emphasis, and dots in place of an answer.
/// Other punctuation after a colon may be a face: ":)".
static COLON: LazyLock<Regex> =
    LazyLock::new(|| regex(&format!(r#"^[^:：﹕\n]*[:：﹕][\s*_`"'”’».…{BLANK}\p{{M}}]*$"#)));

/// A single letter of ASCII, as options have.
static OPTION: LazyLock<Regex> = LazyLock::new(|| regex("^[A-Za-z]$"));

/// A letter of a script that is written without spaces.
static UNSPACED: LazyLock<Regex> =
    LazyLock::new(|| regex(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a fixed pattern is valid")
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
            "\u{301}",
            " \u{301}\u{308}\u{20d7}.",
            "´",
            "¨¨",
            "＾",
            "┌──┐\n└──┘",
            "████",
            "░▒▓",
            "؟",
            "।",
            "Answer:",
            "Explanation:",
            "Final answer:",
            "**Final answer:**",
            "# Answer:\n\n",
            "Answer: ...",
            "\"Réponse\" :",
            "Réponse :",
            "Step 1:",
            "Here is my answer:",
            "Let's solve this problem step by step:",
            "答：",
            "以下是我的答案：",
            "解答は次のとおりです：",
            "Answer:\u{200b}\u{301}",
            "\u{200b}Answer:",
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
            "÷",
            "÷÷÷",
            "★★★★★",
            "●",
            "■",
            "#\u{fe0f}\u{20e3}",
            "e\u{301}",
            "7:",
            "B:",
            "12:30",
            "No :)",
            "Yes :-(",
            "Answer: 7",
            "Answer:\nA cat.",
            "Cats:\nDogs:",
            "It is a cat: the one on the mat that I see at the left:",
            "A cat. It sits on the mat in the middle of the picture and looks at the following things:",
            "Answer",
        ] {
            assert_eq!(certain_outcome(&one(something), &rubric), None, "{something:?}");
            assert_eq!(Flag::of(&one(something), &rubric), [], "{something:?}");
        }
    }

    #[test]
    fn what_is_right_is_never_degenerate() {
        for right in ["?", "Answer:", "\u{301}"] {
            let sign = Case { reference: Some(right.into()), ..one(right) };
            assert_eq!(
                (certain_outcome(&sign, &rubric(Kind::Pointwise)), Flag::of(&sign, &rubric(Kind::Pointwise))),
                (None, vec![])
            );
        }
    }

    #[test]
    fn a_long_text_is_not_an_announcement() {
        let padding = "\u{200b}".repeat(1000);
        for (text, degenerate) in [
            (format!("{padding}Answer:{padding}"), true),
            (format!("Answer:{padding}A cat."), false),
            (format!("{}:", "a".repeat(200)), false),
            (format!("{}:", "答".repeat(17)), false),
        ] {
            assert_eq!(
                certain_outcome(&one(&text), &rubric(Kind::Pointwise)).is_some(),
                degenerate,
                "{text:?}"
            );
        }
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
