//! The text of an error with its causes, for a log line or a client.

use std::{error::Error, iter};

/// The message of `error`, followed by those of its causes, as the command line prints them.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let errors = iter::successors(Some(error), |&error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
