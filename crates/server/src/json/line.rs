//! Parses lines of JSON files, with the position of errors.

use std::{fs, path::Path};

use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;

use crate::json::{errors, lone_surrogates};

/// The text of a file of JSON lines, without a byte order mark.
///
/// # Errors
/// When the file cannot be read, or is not UTF-8, with the first line that is not.
pub(crate) fn text_of(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let number = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow!("line {number} of {} is not UTF-8", path.display())
    })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    Ok(text)
}

/// It begins texts that some programs of Windows write.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Parses the line of this number, counted from 1, of the file at `path`. As in requests, lone surrogates are replaced.
///
/// # Errors
/// When the line is not JSON or does not fit `T`, with line and column.
pub(crate) fn read<T: DeserializeOwned>(line: &str, (number, path): (usize, &Path)) -> anyhow::Result<T> {
    let parsed = serde_json::from_str(line).or_else(|error| {
        let mut bytes = line.as_bytes().to_vec();
        if lone_surrogates::replace(&mut bytes) { serde_json::from_slice(&bytes) } else { Err(error) }
    });
    parsed.map_err(|error| {
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
    fn texts_as_other_programs_write_them_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cases.jsonl");
        fs::write(&path, "\u{feff}{\"question\": \"\u{feff}?\"}\r\n").unwrap();
        assert_eq!(text_of(&path).unwrap(), "{\"question\": \"\u{feff}?\"}\r\n");
        fs::write(&path, b"\"\xc3\xa4\"\n\"\xe4\"\n").unwrap();
        let told = text_of(&path).unwrap_err().to_string();
        assert!(told.starts_with("line 2 of ") && told.ends_with("cases.jsonl is not UTF-8"), "{told}");
        assert!(text_of(folder.path()).is_err());
        let place = (1, Path::new("cases.jsonl"));
        assert_eq!(read::<String>(r#""a\ud800b""#, place).unwrap(), "a\u{fffd}b");
        assert!(read::<String>(r#""a\ud800"#, place).is_err());
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
