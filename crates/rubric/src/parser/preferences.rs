//! Labels and sentences that say which of two responses is better, anywhere in a text.

use std::sync::LazyLock;

use regex::Regex;

use super::{Ending, agreed, is_quoted, regex};
use crate::{Outcome, Preference, VerdictError, choices::GRADES};

/// Every decision in brackets, which must agree, with the sentence that both are equally good.
pub(super) fn bracketed(text: &str) -> Result<Outcome, VerdictError> {
    static BETTER: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"(?i)\bthe better response:\s*\**\s*\[\s*(?<label>first|second|1|2|a|b)\s*\]")
    });
    static TIE: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"(?i)\b(?:two|both)\s+(?:the\s+)?(?:responses|answers)\s+are\s+equally\s+good\s*(?:[.!*\n]|$)")
    });
    let mut decisions: Vec<Outcome> =
        BETTER.captures_iter(text).map(|found| Outcome::Preference(side(&found["label"]))).collect();
    if TIE.is_match(text) {
        decisions.push(Outcome::Preference(Preference::Tie));
    }
    agreed(&decisions)
}

/// Every `[[A]]`, `[[B]]` or `[[C]]`, which must agree.
pub(super) fn three_way(text: &str) -> Result<Outcome, VerdictError> {
    labels(text, |label| {
        let preference = match label {
            "A" => Preference::First,
            "B" => Preference::Second,
            "C" => Preference::Tie,
            _ => return None,
        };
        Some(Outcome::Preference(preference))
    })
}

/// Every `[[A>>B]]` and the like, which must agree in their strength too.
pub(super) fn five_way(text: &str) -> Result<Outcome, VerdictError> {
    labels(text, |label| {
        GRADES.iter().find(|(known, _)| *known == label).map(|(_, grade)| Outcome::Grade(*grade))
    })
}

/// What stands in double brackets, all of it labels that agree. Quoted labels are someone else's.
fn labels(text: &str, meaning: impl Fn(&str) -> Option<Outcome>) -> Result<Outcome, VerdictError> {
    static LABEL: LazyLock<Regex> = LazyLock::new(|| regex(r"\[\[\s*(?<label>[^\[\]]*?)\s*\]\]"));
    let own = LABEL
        .captures_iter(text)
        .filter(|found| !is_quoted(text, found.get(0).map_or(0, |whole| whole.start())));
    let decisions =
        own.map(|found| meaning(&found["label"]).ok_or_else(|| VerdictError::Malformed(found[0].to_owned())));
    agreed(&decisions.collect::<Result<Vec<_>, _>>()?)
}

/// Every sentence that says nothing but which response is better, or that it is a tie; they must agree. A sentence that
/// says more ("Answer 1 is better at naming colours") decides nothing.
pub(super) fn sentence(text: &str, ending: Ending) -> Result<Outcome, VerdictError> {
    // Before it: the start of a text, of a line or of a sentence, and at most a word that draws the conclusion.
    static SENTENCE: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?im)(?:^|[.!?:;*>])[\s*]*(?:(?:therefore|thus|hence|overall|so|in conclusion),?\s+)?(?:(?:answer|response)\s+(?<label>1|2|a|b)\s+is\s+(?:the\s+)?(?:slightly\s+|much\s+)?better(?:\s+(?:answer|response|one))?(?:\s+than\s+(?:answer|response)\s+(?<other>1|2|a|b))?|(?<tie>(?:it\s+is\s+a\s+)?tie))[ \t]*(?<end>[.!*<]|$)",
        )
    });
    let mut decisions = Vec::new();
    for found in SENTENCE.captures_iter(text) {
        // Where a text is cut, more may follow than a sentence's end.
        if ending == Ending::Cut
            && found["end"].is_empty()
            && found.get(0).is_some_and(|whole| whole.end() == text.len())
        {
            return Err(VerdictError::Truncated);
        }
        let better = found.name("label").map_or(Preference::Tie, |label| side(label.as_str()));
        if found.name("other").is_some_and(|other| side(other.as_str()) == better) {
            return Err(VerdictError::Malformed(found[0].trim().to_owned()));
        }
        decisions.push(Outcome::Preference(better));
    }
    agreed(&decisions)
}

/// The side that a label names, of those that the patterns let through.
pub(super) fn side(label: &str) -> Preference {
    match label.to_ascii_lowercase().as_str() {
        "1" | "first" | "a" => Preference::First,
        _ => Preference::Second,
    }
}
