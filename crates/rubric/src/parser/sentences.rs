//! Sentences that state which of two answers is better, and nothing else.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{Ending, agreed, preferences::side, regex};
use crate::{Outcome, Preference, VerdictError};

/// What introduces a sentence, the weakest first. Only the sentences with the strongest introduction of a text
/// count, since those before them may be about one criterion each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Introduction {
    /// Nothing, or the name of a criterion.
    Plain,
    /// A word for a conclusion, such as "therefore".
    Conclusion,
    /// A heading for the judgement as a whole.
    Overall,
}

/// Reads every sentence that states only which response is better, or that it is a tie; those with the strongest
/// introduction must agree. A sentence that states more ("Answer 1 is better at naming colours") is ignored; where it
/// is introduced as a conclusion, a reason may follow.
pub(super) fn sentence(text: &str, ending: Ending) -> Result<Outcome, VerdictError> {
    // Preceded by the start of the text, of a line, of a list item or of a sentence. Asterisks, as used for
    // emphasis, count as white space.
    static SENTENCE: LazyLock<Regex> = LazyLock::new(|| {
        regex(concat!(
            r"(?im)(?<before>^|[.!?:;*>])(?<gap>[\s*#]*)(?<item>[-•]\s[\s*]*)?",
            r"(?:(?:(?<overall>overall(?:\s+judge?ment)?|final\s+(?:judge?ment|verdict))",
            r"|(?<conclusion>therefore|thus|hence|so|in\s+conclusion))(?-u:\b)[\s*]*[,:]?[\s*]*(?:[-•]\s[\s*]*)?)?",
            r"(?:(?:answer|response)[\s*]+(?<label>1|2|a|b)[\s*]+is[\s*]+(?:the[\s*]+)?(?:slightly[\s*]+|much[\s*]+)?better",
            r"(?:\s+(?:answer|response|one))?(?:\s+than\s+(?:answer|response)[\s*]+(?<other>1|2|a|b))?",
            r"|(?<tie>(?:it\s+is\s+a\s+)?tie))",
            r"(?:[ \t]*(?<end>[.!*<]|$)|,?\s+(?<reason>(?:since|because)(?-u:\b))|,\s+(?<as>as(?-u:\b)))",
        ))
    });
    let (mut strongest, mut decisions) = (Introduction::Plain, Vec::new());
    let mut from = 0;
    while let Some(found) = SENTENCE.captures_at(text, from) {
        // The mark at the end may also be the one before the next sentence.
        let whole = found.get_match();
        from = found.name("end").map_or(whole.end(), |end| end.start()).max(whole.start() + 1);
        let introduction = introduction(&found);
        if !is_verdict(text, &found, introduction) {
            continue;
        }
        // At the end of a cut text, the sentence may have continued.
        let is_open = found.name("end").is_some_and(|end| end.is_empty() && end.end() == text.len());
        if is_open && ending == Ending::Cut {
            return Err(VerdictError::Truncated);
        }
        let better = found.name("label").map_or(Preference::Tie, |label| side(label.as_str()));
        if found.name("other").is_some_and(|other| side(other.as_str()) == better) {
            return Err(VerdictError::Malformed(whole.as_str().trim().to_owned()));
        }
        if introduction > strongest {
            (strongest, decisions) = (introduction, Vec::new());
        }
        if introduction == strongest {
            decisions.push(Outcome::Preference(better));
        }
    }
    agreed(&decisions)
}

fn introduction(found: &Captures<'_>) -> Introduction {
    match (found.name("overall"), found.name("conclusion")) {
        (Some(_), _) => Introduction::Overall,
        (None, Some(_)) => Introduction::Conclusion,
        (None, None) => Introduction::Plain,
    }
}

/// Whether a sentence of `text` without a stronger introduction may be the verdict: reasons follow those about one
/// criterion too, and "tie" is also a thing to wear.
fn is_verdict(text: &str, found: &Captures<'_>, introduction: Introduction) -> bool {
    if introduction > Introduction::Plain {
        return true;
    }
    let has_reason = found.name("end").is_none();
    !has_reason && found.name("tie").is_none_or(|tie| is_tie(text, found, tie.as_str()))
}

/// Whether the word `tie` of `text` is a sentence of its own: not an item of a list, nor the rest of a sentence that
/// began in the line before.
fn is_tie(text: &str, found: &Captures<'_>, tie: &str) -> bool {
    if found.name("item").is_some() {
        return false;
    }
    match &found["before"] {
        "" => {
            let above = text[..found.get_match().start()].trim_end();
            !tie.starts_with('t') || !above.ends_with(|last: char| last.is_alphanumeric() || last == ',')
        }
        before => matches!(before, "." | "!" | "?") || found["gap"].contains('\n'),
    }
}
