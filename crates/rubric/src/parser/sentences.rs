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
    /// Words for the judgement as a whole.
    Overall,
}

/// Headings of the judgement as a whole, as a pattern.
const HEADING: &str = r"overall\s+judge?ment|final\s+(?:judge?ment|verdict)|in\s+(?:summary|conclusion)";

/// A sentence that states which answer is better, or that it is a tie.
struct Statement {
    introduction: Introduction,
    preference: Preference,
    /// The byte at which it ends.
    end: usize,
}

/// Reads every sentence that states only which response is better, or that it is a tie; those with the strongest
/// introduction must agree. A sentence that states more ("Answer 1 is better at naming colours") is ignored; where it
/// is introduced as a conclusion, a reason may follow, and anything where it is the judgement as a whole. A text whose
/// judgement as a whole is worded otherwise has none.
pub(super) fn sentence(text: &str, ending: Ending) -> Result<Outcome, VerdictError> {
    let statements = statements(text, ending)?;
    let strongest = statements.iter().map(|statement| statement.introduction).max();
    let last_end = statements.iter().map(|statement| statement.end).max().unwrap_or(0);
    if last_heading(text).is_some_and(|heading| heading > last_end) {
        return Err(VerdictError::Missing);
    }
    let of_strongest = |statement: &&Statement| Some(statement.introduction) == strongest;
    // A conclusion may be about one criterion too: a sentence behind the last of them must agree with it.
    let last_conclusion =
        statements.iter().rposition(|statement| statement.introduction == Introduction::Conclusion);
    let behind = match (strongest, last_conclusion) {
        (Some(Introduction::Conclusion), Some(last)) => &statements[last + 1..],
        _ => &[],
    };
    let counted = statements.iter().filter(of_strongest).chain(behind);
    agreed(&counted.map(|statement| Outcome::Preference(statement.preference)).collect::<Vec<_>>())
}

/// The sentences of `text` that may be verdicts, in order.
fn statements(text: &str, ending: Ending) -> Result<Vec<Statement>, VerdictError> {
    // Preceded by the start of the text, of a line, of a list item or of a sentence. Asterisks, as used for
    // emphasis, count as white space.
    static SENTENCE: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = [
            r"(?im)(?<before>^|[.!?:;*>])(?<gap>[\s*#]*)(?<item>[-•]\s[\s*]*)?",
            // What introduces it.
            r"(?:(?:(?<overall>(?:(?:therefore|thus|hence|so),?\s+)?",
            &format!("(?:{HEADING}|overall))"),
            r"|(?<conclusion>therefore|thus|hence|so))(?-u:\b)[\s*]*[,:–—-]?[\s*]*(?:[-•]\s[\s*]*)?",
            "(?:I\\s+(?:think|believe)\\s+(?:that\\s+)?)?[\"“\\[(]?)?",
            // What it states.
            r"(?:(?:answer|response)[\s*]+(?<label>1|2|a|b)[\s*]+is[\s*]+(?:the[\s*]+)?(?:(?:[a-z]+ly|far|much)[\s*]+)?better",
            r"(?:\s+(?:answer|response|one))?(?:\s+overall)?(?:\s+than\s+(?:answer|response)[\s*]+(?<other>1|2|a|b))?",
            r"|(?<tie>(?:it(?:\s+is|['’]s)\s+a\s+)?tie)",
            r"|(?<equal>(?:both|the\s+two)(?:\s+of\s+the)?\s+(?:answers|responses)\s+are\s+equally\s+good",
            r"|neither\s+(?:answer|response)\s+is\s+better))",
            // Its end, or the end of the words that matter.
            "(?:[ \t\"”\\])]*(?<end>[.!*<]|$)|(?-u:\\b))",
        ];
        regex(&pattern.concat())
    });
    let (mut statements, mut from) = (Vec::new(), 0);
    while let Some(found) = SENTENCE.captures_at(text, from) {
        // The mark at the end may also be the one before the next sentence.
        let whole = found.get_match();
        from = found.name("end").map_or(whole.end(), |end| end.start());
        let introduction = introduction(&found);
        if !is_verdict(text, &found, introduction) {
            continue;
        }
        // At the end of a cut text, the sentence may have continued.
        let is_open = found.name("end").is_none_or(|end| end.is_empty()) && whole.end() == text.len();
        if is_open && ending == Ending::Cut {
            return Err(VerdictError::Truncated);
        }
        let preference = found.name("label").map_or(Preference::Tie, |label| side(label.as_str()));
        if found.name("other").is_some_and(|other| side(other.as_str()) == preference) {
            return Err(VerdictError::Malformed(whole.as_str().trim().to_owned()));
        }
        statements.push(Statement { introduction, preference, end: whole.end() });
    }
    Ok(statements)
}

/// The byte at which the last heading of a judgement as a whole ends.
fn last_heading(text: &str) -> Option<usize> {
    static LEADING: LazyLock<Regex> =
        LazyLock::new(|| regex(&format!(r"(?im)(?:^|[.!?*>])[\s*#]*(?:{HEADING})(?-u:\b)")));
    LEADING.find_iter(text).last().map(|found| found.end())
}

fn introduction(found: &Captures<'_>) -> Introduction {
    match (found.name("overall"), found.name("conclusion")) {
        (Some(_), _) => Introduction::Overall,
        (None, Some(_)) => Introduction::Conclusion,
        (None, None) => Introduction::Plain,
    }
}

/// Whether a sentence of `text` with this introduction may be the verdict: reasons follow those about one criterion
/// too, and "tie" is also a thing to wear.
fn is_verdict(text: &str, found: &Captures<'_>, introduction: Introduction) -> bool {
    static REASON: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"(?i)^(?:\s*[;:(]|\s+[–—-]|,?\s+(?:since|because|due\s+to|as|while)(?-u:\b))")
    });
    let is_whole = found.name("end").is_some();
    match introduction {
        Introduction::Overall => true,
        Introduction::Conclusion => is_whole || REASON.is_match(&text[found.get_match().end()..]),
        Introduction::Plain => {
            let is_tie = found.name("tie").is_none_or(|tie| is_tie(text, found, tie.as_str()));
            is_whole && is_tie && found.name("equal").is_none()
        }
    }
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
