//! Standard output, whose reader may leave before everything is written: `gavel evaluate … | head` has seen what it wanted.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
};

/// Standard output. That its reader has left is told apart from pipes and sockets of other kinds that break.
#[derive(Debug)]
pub(crate) struct Output(io::Stdout);

/// Standard output.
pub(crate) fn output() -> Output {
    Output(io::stdout())
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(told)
    }
}

/// Nobody reads standard output any more.
#[derive(Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("nobody reads the output any more")
    }
}

impl std::error::Error for ReaderGone {}

fn told(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => io::Error::new(ErrorKind::BrokenPipe, ReaderGone),
        _ => error,
    }
}

/// Whether the program ends because nobody reads its output any more.
pub(crate) fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| {
        let inner = cause.get_ref();
        inner.is_some_and(|inner| inner.is::<ReaderGone>())
    })
}

/// What writing came to, for whoever has a failure of its own to tell afterwards, even when nobody read to the end.
pub(crate) fn unless_gone(written: anyhow::Result<()>) -> anyhow::Result<()> {
    written.or_else(|error| if reader_is_gone(&error) { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_told_from_other_pipes_that_break() {
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        let gone = anyhow::Error::from(told(broken())).context("the report cannot be written");
        assert!(reader_is_gone(&gone));
        assert!(!reader_is_gone(&broken().into()));
        assert!(unless_gone(Err(gone)).is_ok() && unless_gone(Err(broken().into())).is_err());
        assert!(!reader_is_gone(&told(io::Error::other("full")).into()));
    }
}
