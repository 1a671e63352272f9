//! Thoughts between tags, then the answer between tags.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use super::{preferences::side, regex};
use crate::{Outcome, VerdictError};

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// What of `text` is known to be thoughts; `None` before they start. What may be the beginning of the tag that ends them is
/// left out.
pub(super) fn thoughts(text: &str) -> Option<Range<usize>> {
    let start = text.len() - text.trim_start().strip_prefix(OPEN)?.len();
    let inside = &text[start..];
    let length = inside.find(CLOSE).unwrap_or_else(|| {
        let begun = (1..CLOSE.len()).rev().find(|length| inside.ends_with(&CLOSE[..*length]));
        inside.len() - begun.unwrap_or(0)
    });
    Some(start..start + length)
}

/// The answer behind the thoughts. What the thoughts say of answers decides nothing.
pub(super) fn answer(text: &str) -> Result<Outcome, VerdictError> {
    static ANSWER: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"(?i)^\s*<answer>\s*(?:answer|response)\s+(?<label>1|2)\s+is\s+better\s*\.?\s*</answer>\s*$")
    });
    let end = thoughts(text).ok_or(VerdictError::Missing)?.end;
    let rest = text[end..].strip_prefix(CLOSE).ok_or(VerdictError::Missing)?;
    // Without the closing tag it is not a whole answer, as where a text is cut.
    if !rest.contains("</answer>") {
        return Err(VerdictError::Missing);
    }
    let found = ANSWER.captures(rest).ok_or_else(|| VerdictError::Malformed(rest.trim().to_owned()))?;
    Ok(Outcome::Preference(side(&found["label"])))
}
