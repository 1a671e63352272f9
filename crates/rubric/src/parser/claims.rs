//! Sentences in a critic's own words that claim that two responses are equally good or that one is better.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{preferences::side, quotations::Quotations, regex};
use crate::Preference;

/// The claim of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Two responses are equally good, and the sentence ends there or only adds a reason.
    Equal {
        /// Whether a punctuation mark, a line break or a reason follows; otherwise the text ends here and may have
        /// been cut.
        closed: bool,
    },
    /// Two responses are equally good in some respect: the sentence goes on, for example with "in accuracy".
    EqualAmid,
    /// The words "equally good" near the end of the text.
    EqualLast,
    /// One response is better, and the sentence ends there or only adds a reason.
    Better(Preference),
}

/// Number of characters at the end of the text in which the words "equally good" alone count as a conclusion.
const LAST: usize = 300;

/// The claims that `text` itself makes: neither negated nor conditional nor quoted. Takes time linear in its
/// length.
pub(super) fn claims(text: &str, quotations: &Quotations<'_>) -> Vec<Claim> {
    // Word boundaries are ASCII-only, since Unicode boundaries are slow in text with other letters or typographic
    // marks.
    static STEP: LazyLock<Regex> = LazyLock::new(|| {
        regex(concat!(
            r"(?i)(?<stop>[.!?;]|\n\s*)|(?<pause>[,:])|(?-u:\b)(?:even\s+(?:if|though)|no\s+doubt)(?-u:\b)",
            r"|(?<negated>(?-u:\b)(?:not|cannot|never|hardly|scarcely|neither|nor|rather\s+than|may|might|could|no\s+longer|far\s+from)(?-u:\b)|n['’]t(?-u:\b))",
            r"|(?<denied>(?-u:\b)(?:(?:wrong|incorrect|false|untrue|mistaken|unfair|inaccurate|hard)\s+(?:that|to\s+(?:say|claim|state|conclude))|(?:disagree|deny|doubt|doubtful)\s+(?:that|whether|with))(?-u:\b))",
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
            // A line that begins with a lower-case letter continues the sentence.
            if !(whole.as_str().starts_with('\n') && rest.starts_with(char::is_lowercase)) {
                (negated, supposed) = (false, false);
            }
        } else if found.name("pause").is_some() {
            negated = false;
        } else if found.name("negated").or(found.name("denied")).is_some() {
            negated = true;
        } else if found.name("supposed").is_some() {
            supposed = true;
        } else if !negated && !supposed && !quotations.have(whole.start()) {
            claims.extend(claim(&found, rest, whole.start() >= last));
        }
    }
    claims
}

/// The claim of the match `found`, which is followed by `rest`.
fn claim(found: &Captures<'_>, rest: &str, is_last: bool) -> Option<Claim> {
    // The end of the sentence, or the beginning of a reason.
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
