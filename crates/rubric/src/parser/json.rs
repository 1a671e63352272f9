//! A JSON object with a score, alone or within other text.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::{Ending, agreed, regex, scores::on_scale};
use crate::{Outcome, Scale, VerdictError};

/// An object that may have a score. Unlike with a map, a duplicate `score` is an error.
#[derive(Deserialize)]
struct Scored {
    score: Option<Value>,
}

impl Scored {
    /// The number of the score, which may be in a string; `None` without a score.
    fn number(self) -> Result<Option<String>, VerdictError> {
        static NUMBER: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*-?[0-9]+(?:\.[0-9]+)?\s*$"));
        match self.score {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::String(text)) if NUMBER.is_match(&text) => Ok(Some(text.trim().to_owned())),
            Some(other) => Err(VerdictError::Malformed(format!("the score in the JSON is {other}"))),
        }
    }
}

/// The scores of all objects, which must agree.
pub(super) fn score(text: &str, (scale, ending): (Scale, Ending)) -> Result<Outcome, VerdictError> {
    let mut scores = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        rest = &rest[open..];
        if !looks_like_an_object(rest) {
            rest = &rest[1..];
            continue;
        }
        let mut objects = serde_json::Deserializer::from_str(rest).into_iter::<Scored>();
        match objects.next() {
            Some(Ok(object)) => {
                if let Some(number) = object.number()? {
                    scores.push(Outcome::Score(on_scale(&number, None, scale)?));
                }
                rest = &rest[objects.byte_offset()..];
            }
            Some(Err(error)) if error.is_eof() && ending == Ending::Cut => {
                return Err(VerdictError::Truncated);
            }
            // The content of an invalid object could be quoted from anywhere, so that it decides nothing.
            Some(Err(error)) => {
                return Err(VerdictError::Malformed(format!("the JSON has an error: {error}")));
            }
            None => break,
        }
    }
    agreed(&scores)
}

/// Whether a brace begins an object: it is followed by a quoted key, or by the end of the text. All other braces
/// are plain text.
fn looks_like_an_object(text: &str) -> bool {
    let inside = text[1..].trim_start();
    inside.is_empty() || inside.starts_with(['"', '\''])
}
