//! Exit statuses of the program, numbered as in sysexits.h, by which a supervisor decides what to do.

mod fatal;

use std::{
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{boot::BootError, configuration::ConfigurationError, stdout::reader_is_gone};
pub(crate) use fatal::Fatal;

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

/// The engine has stopped or is stuck: only a restart of the process helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineGone {
    /// The model's code panicked.
    #[error("the engine has stopped, since the model's code panicked")]
    Panicked,
    /// It is in a step that does not end.
    #[error("the engine is stuck in a step that does not end")]
    Stuck,
}

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
    // One message ever comes; with room for it, the thread ends even if nobody waits any longer.
    let (written, is_written) = mpsc::sync_channel(1);
    // On a thread of its own: writing to a full pipe blocks, and would keep a failed program from being restarted.
    let writer = thread::Builder::new().spawn(move || {
        let _ = written.send(io::stderr().write_all(text.as_bytes()));
    });
    if writer.is_ok() {
        let _ = is_written.recv_timeout(LAST_WORDS);
    }
    status_of(error).map_or(FAILURE, Status::code)
}

fn status_of(error: &anyhow::Error) -> Option<Status> {
    if let Some(fatal) = error.downcast_ref::<Fatal>() {
        fatal.status()
    } else if let Some(error) = error.downcast_ref::<BootError>() {
        error.status()
    } else {
        error.is::<ConfigurationError>().then_some(Status::Misconfigured)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::listeners::ListenError;

    #[test]
    fn wrong_arguments_misconfigure_a_server_and_only_fail_another_command() {
        let unknown = || BootError::UnknownShape { model: "random:x".into() };
        assert_eq!(status_of(&unknown().into()), None);
        assert_eq!(status_of(&Fatal::from(unknown()).into()), Some(Status::Misconfigured));
        let absent = || BootError::NoFolder { model: "./x".into() };
        assert_eq!(status_of(&absent().into()), Some(Status::Misconfigured));
        assert_eq!(status_of(&Fatal::from(absent()).into()), Some(Status::Misconfigured));
    }

    #[test]
    fn an_error_is_told_with_each_cause_once() {
        let taken = || io::Error::from(ErrorKind::AddrInUse);
        let error = anyhow::Error::from(Fatal::from(ListenError::address("[::1]:80", "--port", taken())));
        let told = format!("cannot listen on [::1]:80: {}; choose another with --port", taken());
        assert_eq!(format!("{error:#}"), told);
        assert_eq!(status_of(&error), Some(Status::Taken));
        let system = anyhow::Error::from(Fatal::from(taken()));
        assert_eq!(format!("{system:#}"), taken().to_string());
        assert_eq!(status_of(&system), None);
    }
}
