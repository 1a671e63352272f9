//! A JSON object with a score, among other text or alone.

use serde::Deserialize;

use super::{Ending, agreed, scores::on_scale};
use crate::{Outcome, Scale, VerdictError};

/// An object that has a score. A second one is an error, which a map would hide.
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
            // What is inside of an object that cannot be read could be anybody's words.
            Some(Err(error)) => {
                return Err(VerdictError::Malformed(format!("the JSON has an error: {error}")));
            }
            None => break,
        }
    }
    agreed(&scores)
}

/// Braces around anything but a key are plain text. A brace where the text ends may be the start of an object.
fn looks_like_an_object(text: &str) -> bool {
    let inside = text[1..].trim_start();
    inside.is_empty() || inside.starts_with(['"', '\''])
}
