//! A JSON object with a score, alone or within other text.

use serde::Deserialize;

use super::{Ending, agreed, scores::on_scale};
use crate::{Outcome, Scale, VerdictError};

/// An object that may have a score. Unlike with a map, a duplicate `score` is an error.
#[derive(Deserialize)]
struct Scored {
    score: Option<serde_json::Number>,
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
                if let Some(number) = object.score {
                    scores.push(Outcome::Score(on_scale(&number.to_string(), None, scale)?));
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
