//! Standard output, whose reader may leave before everything is written, as in `gavel evaluate … | head`.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
};

/// Standard output. Its errors distinguish a reader that has left from other broken pipes and sockets.
#[derive(Debug)]
pub(crate) struct Stdout(io::Stdout);

/// Standard output.
pub(crate) fn stdout() -> Stdout {
    Stdout(io::stdout())
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(mark_reader_gone)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(mark_reader_gone)
    }
}

/// The reader of standard output has left.
#[derive(Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("nobody reads the output any more")
    }
}

impl std::error::Error for ReaderGone {}

/// Marks a broken pipe of standard output as [`ReaderGone`], which distinguishes it from other broken pipes.
fn mark_reader_gone(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => io::Error::new(ErrorKind::BrokenPipe, ReaderGone),
        _ => error,
    }
}

/// Whether the error is that the reader of standard output has left.
pub(crate) fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| {
        let inner = cause.get_ref();
        inner.is_some_and(|inner| inner.is::<ReaderGone>())
    })
}

/// The result of writing, without the error of a reader that has left: for callers that then return a failure of
/// their own.
pub(crate) fn unless_gone(written: anyhow::Result<()>) -> anyhow::Result<()> {
    written.or_else(|error| if reader_is_gone(&error) { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_told_from_other_pipes_that_break() {
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        let gone = anyhow::Error::from(mark_reader_gone(broken())).context("the report cannot be written");
        assert!(reader_is_gone(&gone));
        assert!(!reader_is_gone(&broken().into()));
        assert!(unless_gone(Err(gone)).is_ok() && unless_gone(Err(broken().into())).is_err());
        assert!(!reader_is_gone(&mark_reader_gone(io::Error::other("full")).into()));
    }
}
