//! Labels and sentences anywhere in a text that state which of two responses is better.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{
    Ending, agreed,
    claims::{Claim, claims},
    quotations::Quotations,
    regex,
};
use crate::{Confidence, Outcome, Preference, VerdictError, answer::GRADES};

/// Reads the bracketed labels and the full sentence for a tie, which must agree. Without a label, a complete text
/// is also searched for remarks that the responses are equally good and for other wordings that may be a verdict;
/// the latter alone give [`Confidence::Fallback`].
pub(super) fn bracketed(text: &str, ending: Ending) -> Result<(Outcome, Confidence), VerdictError> {
    static BETTER: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"(?i)(?-u:\b)the better response\s*\**\s*:\s*\**\s*\[\s*(?<label>first|second|1|2|a|b)\s*\]")
    });
    let quotations = Quotations::of(text);
    let claims = claims(text, &quotations);
    let mut stated: Vec<Preference> = BETTER
        .captures_iter(text)
        .filter(|found| !quotations.have(start(found)))
        .map(|found| side(&found["label"]))
        .collect();
    let equal = |closed: &Claim| match closed {
        Claim::Equal { closed } => *closed || ending == Ending::Complete,
        Claim::EqualAmid | Claim::EqualLast | Claim::Better(_) => false,
    };
    let whole = claims.iter().any(equal);
    // Labels take precedence over a remark that something is equally good; only the full sentence contradicts them.
    if !stated.is_empty() || ending == Ending::Cut {
        stated.extend(whole.then_some(Preference::Tie));
        return agreed(&outcomes(stated)).map(|outcome| (outcome, Confidence::Stated));
    }
    let fallback = fallback(text, &claims, &quotations);
    let remarked = claims.iter().any(|claim| match claim {
        Claim::Equal { .. } | Claim::EqualAmid | Claim::EqualLast => true,
        Claim::Better(_) => false,
    });
    let confidence = if remarked { Confidence::Stated } else { Confidence::Fallback };
    let found = remarked.then_some(Preference::Tie).into_iter().chain(fallback).collect();
    agreed(&outcomes(found)).map(|outcome| (outcome, confidence))
}

/// Other wordings that may be a verdict: a bracketed label that stands alone, a `\boxed` label, or a sentence that
/// one response is better.
fn fallback(text: &str, claims: &[Claim], quotations: &Quotations<'_>) -> Vec<Preference> {
    // On a line of its own or after a word that announces it, but not after the name of a response, where the
    // brackets may hold its text.
    static ALONE: LazyLock<Regex> = LazyLock::new(|| {
        regex(concat!(
            r"(?im)(?:^[^\S\n]*|(?-u:\b)(?:choice|verdict|preference|winner|decision|judge?ment|(?:final|my)\s+answer",
            r"|(?:better|best|preferred)(?:\s+(?:response|answer|one))?)(?:\s+is)?[\s*]*:?[^\S\n]*)",
            r"\**\[\s*(?<label>first|second|1|2|a|b)\s*\]\**[^\S\n]*(?:[.!]|$)",
        ))
    });
    static BOXED: LazyLock<Regex> = LazyLock::new(|| {
        regex(concat!(
            r"(?i)\\boxed\s*\{\s*(?:\\text\s*\{\s*)?(?:the\s+)?(?:(?:response|answer)\s+)?\[?",
            r"(?<label>first|second|1|2|a|b|tie)\]?(?:\s+(?:response|answer))?(?:\s+is\s+better)?\s*\.?\s*\}",
        ))
    });
    let labels = ALONE.captures_iter(text).chain(BOXED.captures_iter(text));
    let labels = labels.filter(|found| !quotations.have(start(found)));
    let labels = labels.map(|found| match &found["label"] {
        tie if tie.eq_ignore_ascii_case("tie") => Preference::Tie,
        label => side(label),
    });
    let sentences = claims.iter().filter_map(|claim| match claim {
        Claim::Better(better) => Some(*better),
        Claim::Equal { .. } | Claim::EqualAmid | Claim::EqualLast => None,
    });
    labels.chain(sentences).collect()
}

fn outcomes(preferences: Vec<Preference>) -> Vec<Outcome> {
    preferences.into_iter().map(Outcome::Preference).collect()
}

/// The byte at which a match begins.
fn start(found: &Captures<'_>) -> usize {
    found.get(0).map_or(0, |whole| whole.start())
}

/// Reads every `[[A]]`, `[[B]]` or `[[C]]`; they must agree.
pub(super) fn three_way(text: &str) -> Result<Outcome, VerdictError> {
    static LABEL: LazyLock<Regex> = LazyLock::new(|| regex(r"\[\[\s*(?<label>[^\[\]]*?)\s*\]\]"));
    labels(&LABEL, text, |label| {
        let preference = match label {
            "A" => Preference::First,
            "B" => Preference::Second,
            "C" => Preference::Tie,
            _ => return None,
        };
        Some(Outcome::Preference(preference))
    })
}

/// Reads every `[[A>>B]]` and the like; they must agree, strength included. Double brackets around other
/// characters, such as a number, are not labels.
pub(super) fn five_way(text: &str) -> Result<Outcome, VerdictError> {
    static LABEL: LazyLock<Regex> = LazyLock::new(|| regex(r"\[\[\s*(?<label>[AB<>=\s]*?[AB<>=])\s*\]\]"));
    labels(&LABEL, text, |label| {
        GRADES.iter().find(|(known, _)| *known == label).map(|(_, grade)| Outcome::Grade(*grade))
    })
}

/// The labels matched by `pattern`, which must all be valid and agree. Quoted labels are ignored.
fn labels(
    pattern: &Regex,
    text: &str,
    meaning: impl Fn(&str) -> Option<Outcome>,
) -> Result<Outcome, VerdictError> {
    let quotations = Quotations::of(text);
    let own = pattern.captures_iter(text).filter(|found| !quotations.have(start(found)));
    let decisions =
        own.map(|found| meaning(&found["label"]).ok_or_else(|| VerdictError::Malformed(found[0].to_owned())));
    agreed(&decisions.collect::<Result<Vec<_>, _>>()?)
}

/// The response named by a label, which must be one that the patterns accept.
pub(super) fn side(label: &str) -> Preference {
    match label.to_ascii_lowercase().as_str() {
        "1" | "first" | "a" => Preference::First,
        _ => Preference::Second,
    }
}
