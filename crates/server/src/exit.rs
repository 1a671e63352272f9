//! Exit statuses of the program, numbered as in sysexits.h, by which a supervisor decides what to do.

use std::{
    fmt::{self, Display},
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{configuration::ConfigurationError, stdout::reader_is_gone};

/// The exit status of a success.
pub(crate) const SUCCESS: i32 = 0;

/// The exit status of a failure for which there is no [`Status`].
const FAILURE: i32 = 1;

/// Time limit for writing the final error message, since its reader may be stuck.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Something that it needs is unavailable now, such as a GPU or the hub (`EX_UNAVAILABLE`).
    Unavailable,
    /// The program itself has failed (`EX_SOFTWARE`): a supervisor should restart it.
    Failed,
    /// The system gave it no threads or no memory (`EX_OSERR`).
    NoResources,
    /// Another process uses the port or the data folder (`EX_TEMPFAIL`).
    Taken,
    /// What was configured cannot be served, such as a damaged checkpoint (`EX_CONFIG`): a restart does not help.
    Misconfigured,
}

impl Status {
    /// Its number in sysexits.h.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Unavailable => 69,
            Self::Failed => 70,
            Self::NoResources => 71,
            Self::Taken => 75,
            Self::Misconfigured => 78,
        }
    }
}

/// An error that ends the program with a status of its own.
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
    /// An error while starting is one of the configuration, unless it is a [`Fatal`] with another status.
    fn from(error: anyhow::Error) -> Self {
        error.downcast().unwrap_or_else(|error| Self::new(Status::Misconfigured, &error))
    }
}

impl Fatal {
    /// An error that ends the program with `status`.
    pub(crate) fn new(status: Status, error: &anyhow::Error) -> Self {
        Self { status, message: format!("{error:#}") }
    }

    /// The error for an address that cannot be listened on. One that is in use may be free soon.
    pub(crate) fn port(address: impl Display, error: io::Error) -> Self {
        let status = match error.kind() {
            io::ErrorKind::AddrInUse => Status::Taken,
            _ => Status::Misconfigured,
        };
        Self::new(status, &anyhow::Error::new(error).context(format!("cannot listen on {address}")))
    }
}

/// The engine has stopped or is stuck: only a restart of the process helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineGone {
    /// The model's code panicked.
    Panicked,
    /// It is in a step that does not end.
    Stuck,
}

impl Display for EngineGone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Panicked => "the engine has stopped, since the model's code panicked",
            Self::Stuck => "the engine is stuck in a step that does not end",
        })
    }
}

impl std::error::Error for EngineGone {}

/// Ends the program successfully while it is still loading, which cannot be interrupted: it was told to stop.
pub(crate) fn at_once() -> ! {
    end(SUCCESS)
}

/// Ends the program with the exit status `code`, without running the exit handlers that libraries have registered.
///
/// The engine's thread, or one that loads, may still run. The exit handlers of CUDA's libraries would free what these
/// threads use, which is undefined behaviour: the process could crash, and so end with another status, or hang.
pub(crate) fn end(code: i32) -> ! {
    // An exit handler would do this. An error is ignored: the reader may have left.
    let _ = io::stdout().flush();
    signal_hook::low_level::exit(code)
}

/// Prints the error and returns the exit status; prints nothing and returns [`SUCCESS`] if the reader of the output
/// has left.
pub(crate) fn ending(error: &anyhow::Error) -> i32 {
    if reader_is_gone(error) {
        return SUCCESS;
    }
    let text = format!("error: {error:#}\n");
    let (told, heard) = mpsc::sync_channel(1);
    // On a thread of its own: writing to a full pipe blocks, and would keep a failed program from being restarted.
    let saying = thread::Builder::new().spawn(move || {
        let _ = told.send(io::stderr().write_all(text.as_bytes()));
    });
    if saying.is_ok() {
        let _ = heard.recv_timeout(LAST_WORDS);
    }
    status_of(error).map_or(FAILURE, Status::code)
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
