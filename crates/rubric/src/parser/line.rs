//! Parsers of first lines that hold the decision.

use std::sync::LazyLock;

use regex::Regex;

use super::{regex, scores::on_scale};
use crate::{Direction, Outcome, Preference, Scale, ScorePair, VerdictError};

/// Parses `Score: N`.
pub(super) fn score(line: &str, scale: Scale) -> Result<Outcome, VerdictError> {
    static SCORE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"^\s*Score:\s*(?<score>-?[0-9]+(?:\.[0-9]+)?)\s*$"));
    let found = SCORE.captures(line).ok_or(VerdictError::Missing)?;
    on_scale(&found["score"], None, scale).map(Outcome::Score)
}

/// Parses `N`, alone or followed by words.
pub(super) fn number(line: &str, scale: Scale) -> Result<Outcome, VerdictError> {
    let found = NUMBER.captures(line).ok_or(VerdictError::Missing)?;
    if found.name("word").is_some_and(|word| continues(word.as_str())) {
        return Err(VerdictError::Missing);
    }
    on_scale(&found["score"], None, scale).map(Outcome::Score)
}

/// A number and the word after it, in one line. A dash between them belongs to neither.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^[^\S\n]*(?<score>-?[0-9]+(?:\.[0-9]+)?)(?:[^\S\n]+[-–—])?(?:[^\S\n]+(?<word>\S+)[^\n]*)?\s*(?:\n|$)",
    )
});

/// The byte at which the words after a leading number begin; `None` until the first of them is complete, and if it
/// may change the number. It looks no further, since it is called again for every piece of text.
pub(super) fn words_behind_number(text: &str) -> Option<usize> {
    static BEGUN: LazyLock<Regex> =
        LazyLock::new(|| regex(r"^[^\S\n]*-?[0-9]+(?:\.[0-9]+)?(?:[^\S\n]+[-–—])?[^\S\n]+(?<word>\S+)\s"));
    let found = BEGUN.captures(text)?;
    let word = found.name("word").filter(|word| !continues(word.as_str()))?;
    Some(word.start())
}

/// Whether `word` may change the meaning of the number before it, as in a range, a fraction or a larger number.
/// Words that do not begin with a letter count as such, since sentences do.
fn continues(word: &str) -> bool {
    const MAKING: [&str; 17] = [
        "of", "out", "or", "to", "and", "through", "till", "until", "point", "percent", "per", "hundred",
        "thousand", "million", "times", "plus", "minus",
    ];
    let begins = word.trim_start_matches(['(', '[', '*', '"', '“']);
    let letters: String = begins.chars().take_while(|letter| letter.is_alphabetic()).collect();
    letters.is_empty() || MAKING.contains(&letters.to_lowercase().as_str())
}

/// Parses `N N`. Commas and semicolons count as spaces, as in the programs that use this form.
pub(super) fn two_scores(line: &str, scale: Scale, direction: Direction) -> Result<Outcome, VerdictError> {
    static NUMBERS: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"^\s*(?<first>-?[0-9]+(?:\.[0-9]+)?)[\s,;]+(?<second>-?[0-9]+(?:\.[0-9]+)?)[\s,;]*$")
    });
    let found = NUMBERS.captures(line).ok_or(VerdictError::Missing)?;
    let (first, second) = (on_scale(&found["first"], None, scale)?, on_scale(&found["second"], None, scale)?);
    Ok(Outcome::Scores(ScorePair::new(first, second, direction)))
}

/// Parses `Better: 1`, `Better: 2` or `Better: tie`.
pub(super) fn better(line: &str) -> Result<Outcome, VerdictError> {
    let label = line.trim().strip_prefix("Better:").ok_or(VerdictError::Missing)?;
    let preference = match label.trim() {
        "1" => Preference::First,
        "2" => Preference::Second,
        "tie" => Preference::Tie,
        _ => return Err(VerdictError::Missing),
    };
    Ok(Outcome::Preference(preference))
}
