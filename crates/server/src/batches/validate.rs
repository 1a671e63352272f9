//! Whether the input of a batch makes sense: looked at whole before a line of it is run.

use std::{
    collections::HashSet,
    io::{self, Read},
};

use sha2::{Digest, Sha256};
use store::LineError;

use super::line::Lines;

/// The most errors that are told; whoever made these makes the others the same way.
const MOST_ERRORS: usize = 1000;

/// How many lines an input has, or what is wrong with them.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn validate(
    lines: &mut Lines<impl Read>,
    (endpoint, max_lines): (&str, usize),
) -> io::Result<Result<i64, Vec<LineError>>> {
    let (mut errors, mut total) = (Vec::new(), 0);
    // Digests, so that the memory does not depend on the ids.
    let mut seen: HashSet<[u8; 32]> = HashSet::new();
    while let Some(line) = lines.next(endpoint)? {
        total += 1;
        if total > max_lines as i64 {
            let message = format!(
                "The input has more than {max_lines} lines, which is the limit. The server's option is --max-batch-lines."
            );
            errors.push(whole("too_many_lines", message));
            break;
        }
        match line {
            Ok(line) if !seen.insert(Sha256::digest(&line.custom_id).into()) => errors.push(LineError {
                code: "duplicate_custom_id".into(),
                line: Some(line.number),
                message: format!("An earlier line has the custom_id {:?}, too.", line.custom_id),
                param: Some("custom_id".into()),
            }),
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
        if errors.len() >= MOST_ERRORS {
            break;
        }
    }
    if total == 0 {
        errors.push(whole("empty_file", "The input has no line.".into()));
    }
    Ok(if errors.is_empty() { Ok(total) } else { Err(errors) })
}

/// An error of no line in particular.
fn whole(code: &str, message: String) -> LineError {
    LineError { code: code.into(), line: None, message, param: None }
}
