//! Sentences that say, in a critic's own words, that two responses are equally good or that one is better.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{preferences::side, quotations::Quotations, regex};
use crate::Preference;

/// What a sentence claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Two responses are equally good, and the sentence says no more than that, and perhaps why. `closed` tells whether a mark
    /// or a reason shows that it ends there; else the text does.
    Equal {
        /// Whether it cannot go on.
        closed: bool,
    },
    /// Two responses are equally good, in a sentence that goes on, as by "in accuracy".
    EqualAmid,
    /// Something near the end of the text is equally good.
    EqualLast,
    /// One response is better, in a sentence that says no more than that, and perhaps why.
    Better(Preference),
}

/// Where the words "equally good" alone are taken for a conclusion: so many characters before the end.
const LAST: usize = 300;

/// All that `text` claims by itself: neither negated, nor supposed, nor quoted. Takes time in proportion to its length.
pub(super) fn claims(text: &str, quotations: &Quotations<'_>) -> Vec<Claim> {
    // Words end by ASCII alone, since the regex is slow otherwise where a text has other letters or typographic marks.
    static STEP: LazyLock<Regex> = LazyLock::new(|| {
        regex(concat!(
            r"(?i)(?<stop>[.!?;]|\n\s*)|(?<pause>[,:])|(?-u:\b)even\s+(?:if|though)(?-u:\b)",
            r"|(?<negated>(?-u:\b)(?:not|cannot|never|hardly|scarcely|neither|nor|rather\s+than|may|might|could|no\s+longer|far\s+from)(?-u:\b)|n['’]t(?-u:\b))",
            r"|(?<supposed>(?-u:\b)(?:if|unless|whether)(?-u:\b))",
            r"|(?<both>(?-u:\b)(?:two|both)\s+(?:of\s+)?(?:the\s+)?(?:responses|answers)\s+are\s+equally\s+good(?-u:\b))",
            r"|(?-u:\b)(?<equal>equally\s+good)(?-u:\b)",
            r"|(?-u:\b)(?:(?:response|answer)\s+(?<label>1|2|a|b)|the\s+(?<place>first|second)\s+(?:response|answer|one))\s+is\s+(?:the\s+)?(?:clearly\s+|slightly\s+|much\s+)?better(?-u:\b)",
        ))
    });
    let end = text.trim_end();
    let last = end.char_indices().rev().nth(LAST - 1).map_or(0, |(at, _)| at);
    let (mut negated, mut supposed) = (false, false);
    let mut claims = Vec::new();
    for found in STEP.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        let rest = &text[whole.end()..];
        if found.name("stop").is_some() {
            // A line that goes on in small letters is the same sentence.
            if !(whole.as_str().starts_with('\n') && rest.starts_with(char::is_lowercase)) {
                (negated, supposed) = (false, false);
            }
        } else if found.name("pause").is_some() {
            negated = false;
        } else if found.name("negated").is_some() {
            negated = true;
        } else if found.name("supposed").is_some() {
            supposed = true;
        } else if !negated && !supposed && !quotations.have(whole.start()) {
            claims.extend(claim(&found, rest, whole.start() >= last));
        }
    }
    claims
}

/// What the words `found` claim before `rest`.
fn claim(found: &Captures<'_>, rest: &str, is_last: bool) -> Option<Claim> {
    // The end of a sentence, or what gives reasons for it.
    const END: &str = r"\s*(?:(?<closed>[.!*)\]\n]|,?\s+(?:since|because)\b|,\s+as\b)|$)";
    static ENDS: LazyLock<Regex> = LazyLock::new(|| regex(&format!("(?i)^{END}")));
    static BETTER_ENDS: LazyLock<Regex> = LazyLock::new(|| {
        let than = r"\s+than\s+(?:(?:the\s+)?(?:response|answer)\s+(?<label>1|2|a|b)|the\s+(?:(?<place>first|second)|other)(?:\s+(?:response|answer|one))?)";
        regex(&format!(r"(?i)^(?:\s+(?:response|answer|one))?(?:\s+overall)?(?:{than})?(?:\s+overall)?{END}"))
    });
    if rest.trim_start().starts_with('?') {
        return None;
    }
    if found.name("both").is_some() {
        let ends = ENDS.captures(rest);
        return Some(
            ends.map_or(Claim::EqualAmid, |end| Claim::Equal { closed: end.name("closed").is_some() }),
        );
    }
    if found.name("equal").is_some() {
        return is_last.then_some(Claim::EqualLast);
    }
    let named = |found: &Captures<'_>| {
        found.name("label").or_else(|| found.name("place")).map(|name| side(name.as_str()))
    };
    let (better, end) = (named(found)?, BETTER_ENDS.captures(rest)?);
    (named(&end) != Some(better)).then_some(Claim::Better(better))
}
