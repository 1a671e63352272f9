//! The limit of the system on the open files and sockets of the process.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to the largest one that the process may set. The usual one of 1024 protects old programs that number
/// their files in fixed sets; a server needs a socket for each connection.
///
/// # Errors
/// When the system refuses; the limit then stays as it is.
pub(crate) fn raise_limit() -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
