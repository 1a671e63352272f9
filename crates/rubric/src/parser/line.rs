//! First lines that are a decision and nothing else.

use std::sync::LazyLock;

use regex::Regex;

use super::{regex, scores::on_scale};
use crate::{Direction, Outcome, Preference, Scale, ScorePair, VerdictError};

/// `Score: N`.
pub(super) fn score(line: &str, scale: Scale) -> Result<Outcome, VerdictError> {
    static SCORE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"^\s*Score:\s*(?<score>-?[0-9]+(?:\.[0-9]+)?)\s*$"));
    let found = SCORE.captures(line).ok_or(VerdictError::Missing)?;
    on_scale(&found["score"], None, scale).map(Outcome::Score)
}

/// `N`.
pub(super) fn number(line: &str, scale: Scale) -> Result<Outcome, VerdictError> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*(?<score>-?[0-9]+(?:\.[0-9]+)?)\s*$"));
    let found = NUMBER.captures(line).ok_or(VerdictError::Missing)?;
    on_scale(&found["score"], None, scale).map(Outcome::Score)
}

/// `N N`, or with a comma between.
pub(super) fn two_scores(line: &str, scale: Scale, direction: Direction) -> Result<Outcome, VerdictError> {
    // A comma alone could be a decimal one, so that white space must follow it.
    static NUMBERS: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"^\s*(?<first>-?[0-9]+(?:\.[0-9]+)?)(?:,\s+|\s+)(?<second>-?[0-9]+(?:\.[0-9]+)?)\s*$")
    });
    let found = NUMBERS.captures(line).ok_or(VerdictError::Missing)?;
    let (first, second) = (on_scale(&found["first"], None, scale)?, on_scale(&found["second"], None, scale)?);
    Ok(Outcome::Scores(ScorePair::new(first, second, direction)))
}

/// `Better: 1`, `2` or `tie`.
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
