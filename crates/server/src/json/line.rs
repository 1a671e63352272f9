//! Parses lines of JSON files, with the position of errors.

use std::path::Path;

use anyhow::anyhow;
use serde::de::DeserializeOwned;

use crate::json::errors;

/// Parses the line of this number, counted from 1, of the file at `path`.
///
/// # Errors
/// When the line is not JSON or does not fit `T`, with line and column.
pub(crate) fn read<T: DeserializeOwned>(line: &str, (number, path): (usize, &Path)) -> anyhow::Result<T> {
    serde_json::from_str(line).map_err(|error| {
        let column = match error.column() {
            0 => String::new(),
            column => format!(", column {column}"),
        };
        let reason = errors::in_words(&reason(&error));
        anyhow!("line {number} of {}{column}: {reason}", path.display())
    })
}

/// The parser's message without its line and column, for callers that report the position in another way.
pub(crate) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Asked {
        #[serde(rename = "question")]
        _question: String,
    }

    #[test]
    fn a_line_is_counted_once() {
        let told = |error: anyhow::Error| error.to_string();
        let place = (6, Path::new("cases.jsonl"));
        assert_eq!(
            told(read::<Value>("not json", place).unwrap_err()),
            "line 6 of cases.jsonl, column 2: expected ident"
        );
        let lacking = told(read::<Asked>("{}", place).unwrap_err());
        assert!(
            lacking.starts_with("line 6 of cases.jsonl") && lacking.ends_with("missing field `question`")
        );
        assert!(read::<Asked>("{\"question\": \"?\"}", place).is_ok());
        let list = told(read::<Asked>("[]", place).unwrap_err());
        assert!(list.ends_with(": an object is wanted"), "{list}");
    }
}
