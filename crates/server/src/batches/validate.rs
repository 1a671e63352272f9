//! Validates the whole input of a batch before any of its lines runs.

use std::{
    collections::HashSet,
    io::{self, Read},
};

use sha2::{Digest, Sha256};
use store::LineError;

use super::line::Lines;
use crate::error::{ErrorCode, quoted};

/// The largest number of errors to report; further errors are likely of the same kind.
const MAX_ERRORS: usize = 1000;

/// Returns the number of lines of an input for the route `endpoint`, or the errors in it.
///
/// # Errors
/// If the input cannot be read.
pub(crate) fn validate(
    lines: &mut Lines<impl Read>,
    endpoint: &str,
    max_lines: usize,
) -> io::Result<Result<i64, Vec<LineError>>> {
    let (mut errors, mut total) = (Vec::new(), 0);
    // Digests instead of ids, so that memory does not depend on the length of ids.
    let mut seen: HashSet<[u8; 32]> = HashSet::new();
    while let Some(line) = lines.next(endpoint)? {
        total += 1;
        if total > max_lines as i64 {
            let message = format!(
                "The input has more than {max_lines} lines, which is the limit. The server's option is --max-batch-lines."
            );
            errors.push(input_error(ErrorCode::TooManyLines, message));
            break;
        }
        match line {
            Ok(line) if !seen.insert(Sha256::digest(&line.custom_id).into()) => errors.push(LineError {
                code: ErrorCode::DuplicateCustomId.as_str().into(),
                line: Some(line.number),
                message: format!("An earlier line has the custom_id {}, too.", quoted(&line.custom_id)),
                param: Some("custom_id".into()),
            }),
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
        if errors.len() >= MAX_ERRORS {
            break;
        }
    }
    if total == 0 {
        errors.push(input_error(ErrorCode::EmptyFile, "The input has no line.".into()));
    }
    Ok(if errors.is_empty() { Ok(total) } else { Err(errors) })
}

/// An error that concerns the input as a whole.
fn input_error(code: ErrorCode, message: String) -> LineError {
    LineError { code: code.as_str().into(), line: None, message, param: None }
}
