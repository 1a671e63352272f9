//! Exit statuses of the program, numbered as in sysexits.h, by which a supervisor decides what to do.

use std::io::{self, Write};

/// The exit status of a success.
pub(crate) const SUCCESS: i32 = 0;

/// The exit status of a failure for which there is no [`Status`].
pub(crate) const FAILURE: i32 = 1;

/// Why the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Something that it needs is unavailable now, such as a GPU, the hub, an address to listen on or room on the disk
    /// (`EX_UNAVAILABLE`).
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
