//! Parses an answer with its reasoning in think tags and the decision in answer tags.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use super::{preferences::side, regex};
use crate::{Outcome, VerdictError};

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// The range of `text` known to be reasoning; `None` before it begins. A partial closing tag at the end is
/// excluded.
pub(super) fn thoughts(text: &str) -> Option<Range<usize>> {
    let start = text.len() - text.trim_start().strip_prefix(OPEN)?.len();
    let inside = &text[start..];
    let length = inside.find(CLOSE).unwrap_or_else(|| {
        let begun = (1..CLOSE.len()).rev().find(|length| inside.ends_with(&CLOSE[..*length]));
        inside.len() - begun.unwrap_or(0)
    });
    Some(start..start + length)
}

/// Parses the answer after the reasoning. Statements within the reasoning are ignored.
pub(super) fn answer(text: &str) -> Result<Outcome, VerdictError> {
    static ANSWER: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"(?i)^\s*<answer>\s*(?:answer|response)\s+(?<label>1|2)\s+is\s+better\s*\.?\s*</answer>\s*$")
    });
    let end = thoughts(text).ok_or(VerdictError::Missing)?.end;
    let rest = text[end..].strip_prefix(CLOSE).ok_or(VerdictError::Missing)?;
    // Without the closing tag the answer is incomplete, as in a cut text.
    if !rest.contains("</answer>") {
        return Err(VerdictError::Missing);
    }
    let found = ANSWER.captures(rest).ok_or_else(|| VerdictError::Malformed(rest.trim().to_owned()))?;
    Ok(Outcome::Preference(side(&found["label"])))
}
