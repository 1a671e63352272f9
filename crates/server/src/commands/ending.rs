//! How a command ends: its final error message, and the exit status that follows from the error.

use std::{
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    boot::BootError,
    options::LogFormat,
    process::{
        exit::{FAILURE, SUCCESS, Status},
        stdout::reader_is_gone,
    },
    serve::ServeError,
    settings::ConfigurationError,
    telemetry::last_line,
};

/// Time limit for writing the final error message, since its reader may be stuck.
const STDERR_TIMEOUT: Duration = Duration::from_secs(1);

/// Prints the error, in the format of the log, and returns the exit status; prints nothing and returns [`SUCCESS`] if
/// the reader of the output has left.
pub(crate) fn ending(error: &anyhow::Error, format: LogFormat) -> i32 {
    if reader_is_gone(error) {
        return SUCCESS;
    }
    let text = match format {
        LogFormat::Pretty => format!("error: {error:#}\n"),
        LogFormat::Json => last_line(&format!("{error:#}")),
    };
    // One message ever comes; with room for it, the thread ends even if nobody waits any longer.
    let (sender, receiver) = mpsc::sync_channel(1);
    // On a thread of its own: writing to a full pipe blocks, and would keep a failed program from being restarted.
    let writer = thread::Builder::new().spawn(move || {
        let _ = sender.send(io::stderr().write_all(text.as_bytes()));
    });
    if writer.is_ok() {
        let _ = receiver.recv_timeout(STDERR_TIMEOUT);
    }
    status_of(error).map_or(FAILURE, Status::code)
}

fn status_of(error: &anyhow::Error) -> Option<Status> {
    if let Some(error) = error.downcast_ref::<ServeError>() {
        error.status()
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
    use crate::serve::ListenError;

    #[test]
    fn wrong_arguments_misconfigure_a_server_and_only_fail_another_command() {
        let unknown = || BootError::UnknownShape { model: "random:x".into() };
        assert_eq!(status_of(&unknown().into()), None);
        assert_eq!(status_of(&ServeError::from(unknown()).into()), Some(Status::Misconfigured));
        let absent = || BootError::NoFolder { model: "./x".into() };
        assert_eq!(status_of(&absent().into()), Some(Status::Misconfigured));
        assert_eq!(status_of(&ServeError::from(absent()).into()), Some(Status::Misconfigured));
    }

    #[test]
    fn an_error_is_told_with_each_cause_once() {
        let taken = || io::Error::from(ErrorKind::AddrInUse);
        let error =
            anyhow::Error::from(ServeError::from(ListenError::address("[::1]:80", "--port", taken())));
        let told = format!("cannot listen on [::1]:80: {}; choose another with --port", taken());
        assert_eq!(format!("{error:#}"), told);
        assert_eq!(status_of(&error), Some(Status::Taken));
        let system = anyhow::Error::from(ServeError::from(taken()));
        assert_eq!(format!("{system:#}"), taken().to_string());
        assert_eq!(status_of(&system), None);
    }
}
