//! Scores after a label, anywhere in a text.

use std::sync::LazyLock;

use regex::Regex;

use super::{Ending, agreed, quotations::Quotations, regex};
use crate::{Outcome, Scale, VerdictError};

/// The label of `Score: [N]`.
pub(super) static SCORE: LazyLock<Regex> = LazyLock::new(|| label("score"));
/// The label of `Rating: N`.
pub(super) static RATING: LazyLock<Regex> = LazyLock::new(|| label("rating"));
/// The label of `Final Score: N`.
pub(super) static FINAL: LazyLock<Regex> = LazyLock::new(|| label(r"final\s+score"));

/// Matches the label, the colon and any markup around it, up to the number.
fn label(word: &str) -> Regex {
    regex(&format!(r"(?i)\b{word}\s*\**\s*:\s*\**\s*\[?\s*"))
}

/// Reads the score after every occurrence of `label`; they must agree. A label without a number is ignored.
pub(super) fn anywhere(
    label: &Regex,
    text: &str,
    (scale, ending): (Scale, Ending),
) -> Result<Outcome, VerdictError> {
    let quotations = Quotations::of(text);
    let labels = label.find_iter(text).filter(|found| !quotations.have(found.start()));
    let scores = labels.filter_map(|found| read(&text[found.end()..], (scale, ending)).transpose());
    let scores: Vec<Outcome> = scores.map(|score| score.map(Outcome::Score)).collect::<Result<_, _>>()?;
    agreed(&scores)
}

/// The score at the beginning of `text`; `None` if there is no number.
fn read(text: &str, (scale, ending): (Scale, Ending)) -> Result<Option<f64>, VerdictError> {
    // The top of a scale follows in the same line; emphasis and a bracket may close before it.
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        regex(concat!(
            r"(?i)^(?<score>[-+]?\.?[0-9]+(?:\.[0-9]+)?)",
            r"(?:[^\S\n]*[*\]]*[^\S\n]*(?:(?:stars?|points?)[^\S\n]*)?\(?[^\S\n]*",
            r"(?:/|out\s+of(?:\s+a\s+possible)?|of|on\s+a\s+scale\s+(?:of|from)\s+[0-9.]+\s*(?:to|-|–))",
            r"[^\S\n]*\[?\**(?<of>[0-9]+(?:\.[0-9]+)?))?",
        ))
    });
    // A continuation such as a range, a list, a percentage or a word, which makes the number only a part of
    // something else. Behind a bracket, a dash with spaces and "and" lead to the reasons, and so do a dash without a
    // number behind it and a comma before a number that more words follow.
    static MORE: LazyLock<Regex> = LazyLock::new(|| {
        regex(concat!(
            r"(?i)^(?:[\w%+~/-]|[.,:][0-9]|[–—−][^\S\n]*[-+]?[0-9]",
            r"|[^\S\n]+(?:to|or|and|vs\.?|[-–—−~])[^\S\n]+[-+]?[0-9]",
            r"|[*\]]+(?:[-–—−~]|[^\S\n]*(?:to|or|vs\.?)[^\S\n]+)[*\[]*[-+]?[0-9]",
            r"|[*\]]*[^\S\n]*(?:[;,|&]|\.{2,}|…|\][^\S\n]*\[)[^\S\n]*[*\[]*[-+]?[0-9]+(?:\.[0-9]+)?(?:[*\].]*[^\S\n]*(?:\n|$)|[^\S\n]+(?:or|and|to)[^\S\n]+[0-9])",
            r"|[^\S\n]*[*\]]*[^\S\n]*\(?[^\S\n]*(?:/|out\s+of\b))",
        ))
    });
    // A possible beginning of a continuation where a text is cut.
    static MAYBE_MORE: LazyLock<Regex> = LazyLock::new(|| {
        regex(concat!(
            r"(?i)^\**(?:[.,:;|&…–—−]+|[^\S\n]*(?:(?:stars?|points?)[^\S\n]*)?\(?[^\S\n]*",
            r"(?:/|o|of|ou|out\s*|out\s+of?|on?(?:\s+a(?:\s+scale.*)?)?|t|to|a|an|and|or|vs?\.?|[-–—−~])?\s*)$",
        ))
    });
    let Some(found) = NUMBER.captures(text) else { return Ok(None) };
    let rest = &text[found[0].len()..];
    if ending == Ending::Cut && !rest.starts_with(['\n', ']']) && MAYBE_MORE.is_match(rest) {
        return Err(VerdictError::Truncated);
    }
    if let Some(more) = MORE.find(rest) {
        return Err(VerdictError::Malformed(format!("{}{}", &found[0], more.as_str())));
    }
    on_scale(&found["score"], found.name("of").map(|of| of.as_str()), scale).map(Some)
}

/// Parses a score on `scale`. One given "out of" a number must name the top of the scale.
pub(super) fn on_scale(number: &str, of: Option<&str>, scale: Scale) -> Result<f64, VerdictError> {
    let value = |text: &str| text.parse::<f64>().ok();
    let right_top = of.is_none_or(|of| value(of) == Some(scale.max));
    match value(number) {
        Some(score) if right_top && scale.contains(score) => Ok(score),
        _ => {
            let found = of.map_or_else(|| number.to_owned(), |of| format!("{number}/{of}"));
            Err(VerdictError::OutOfScale { found, scale })
        }
    }
}
