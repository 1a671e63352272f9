//! Limits of metadata: the pairs that a client adds to a request, and finds again in the answer.

use crate::error::ApiError;

/// The maximum number of pairs, as at OpenAI.
const MAX_PAIRS: usize = 16;

/// The maximum length of a key in characters, as at OpenAI.
const MAX_KEY_CHARACTERS: usize = 64;

/// The maximum length of a value in characters, as at OpenAI.
const MAX_VALUE_CHARACTERS: usize = 512;

/// Checks the keys of metadata, each with the length of its value in characters.
///
/// # Errors
/// When there are too many, or one is too long.
pub(super) fn check<'a>(pairs: impl IntoIterator<Item = (&'a String, usize)>) -> Result<(), ApiError> {
    for (index, (key, value)) in pairs.into_iter().enumerate() {
        if index >= MAX_PAIRS || key.chars().count() > MAX_KEY_CHARACTERS || value > MAX_VALUE_CHARACTERS {
            let message = format!(
                "Metadata has at most {MAX_PAIRS} pairs, with keys of {MAX_KEY_CHARACTERS} and values of \
                 {MAX_VALUE_CHARACTERS} characters."
            );
            return Err(ApiError::invalid("metadata", message));
        }
    }
    Ok(())
}
