//! How the program ends when it cannot go on, in the numbers of sysexits.h, by which whoever started it decides what to do.

use std::{
    fmt::{self, Display},
    io::{self, Write},
    process::{self, ExitCode},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{configuration::ConfigurationError, output::reader_is_gone, serve::EngineGone};

/// How long the last words may take: nobody may be reading them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Something that it needs is not to be had now: a GPU, a hub (`EX_UNAVAILABLE`).
    Unavailable,
    /// The program itself has failed (`EX_SOFTWARE`): whoever watches it should start it again.
    Failed,
    /// The system gave it no threads or no memory (`EX_OSERR`).
    NoResources,
    /// Another process has the port or the folder (`EX_TEMPFAIL`).
    Taken,
    /// What was asked for cannot be served, such as a damaged checkpoint (`EX_CONFIG`): starting it again does not help.
    Misconfigured,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        let code: u8 = match status {
            Status::Unavailable => 69,
            Status::Failed => 70,
            Status::NoResources => 71,
            Status::Taken => 75,
            Status::Misconfigured => 78,
        };
        code.into()
    }
}

/// An error by which the program ends in a way of its own.
#[derive(Debug)]
pub(crate) struct Fatal {
    status: Status,
    message: String,
}

impl Display for Fatal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Fatal {}

impl From<anyhow::Error> for Fatal {
    /// What is wrong before anything is loaded is wrong with what was asked for, unless it is said otherwise.
    fn from(error: anyhow::Error) -> Self {
        error.downcast().unwrap_or_else(|error| Self::new(Status::Misconfigured, &error))
    }
}

impl Fatal {
    /// An error that ends the program with `status`.
    pub(crate) fn new(status: Status, error: &anyhow::Error) -> Self {
        Self { status, message: format!("{error:#}") }
    }

    /// A port that cannot be listened on. One that is taken may be free soon.
    pub(crate) fn port(address: impl Display, error: io::Error) -> Self {
        let status = match error.kind() {
            io::ErrorKind::AddrInUse => Status::Taken,
            _ => Status::Misconfigured,
        };
        Self::new(status, &anyhow::Error::new(error).context(format!("cannot listen on {address}")))
    }
}

/// Ends the program under whatever cannot be told to stop, since it was told to end before anything was served.
pub(crate) fn at_once() -> ! {
    process::exit(0)
}

/// Says what went wrong and how the program ends: well and without a word where whoever read its output has seen enough.
pub(crate) fn ending(error: &anyhow::Error) -> ExitCode {
    if reader_is_gone(error) {
        return ExitCode::SUCCESS;
    }
    let text = format!("error: {error:#}\n");
    let (told, heard) = mpsc::channel();
    // On a thread of its own: a pipe that is full would keep a program that has failed from being started again.
    let saying = thread::Builder::new().spawn(move || {
        let _ = told.send(io::stderr().write_all(text.as_bytes()));
    });
    if saying.is_ok() {
        let _ = heard.recv_timeout(LAST_WORDS);
    }
    status_of(error).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn status_of(error: &anyhow::Error) -> Option<Status> {
    if let Some(fatal) = error.downcast_ref::<Fatal>() {
        Some(fatal.status)
    } else if error.is::<ConfigurationError>() {
        Some(Status::Misconfigured)
    } else if error.is::<EngineGone>() {
        Some(Status::Failed)
    } else {
        None
    }
}
