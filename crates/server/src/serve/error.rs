//! Why the server cannot start or ends by itself, and the exit status of each reason.

use std::io;

use store::StoreError;
use tokio::task::JoinError;

use super::listeners::ListenError;
use crate::{
    boot::BootError, judging_log::LogError, process::exit::Status, storage::crash_record::CrashRecordError,
    telemetry::TelemetryError,
};

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

/// Why the server cannot start or ends by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// An environment variable has an invalid value.
    #[error("{0}")]
    Variable(String),
    /// Options that were not all given on the command line do not fit together.
    #[error("{0}")]
    Relations(String),
    /// The log or the export of traces cannot be started.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The system does not start the threads of the runtime.
    #[error("the system gives the program too few threads")]
    Runtime(#[source] io::Error),
    /// The handler of a signal cannot be registered.
    #[error("signals cannot be listened for")]
    Signals(#[source] io::Error),
    /// The HTTP client for images cannot be made.
    #[error("the client that fetches images cannot be made")]
    RemoteImages(#[source] reqwest::Error),
    /// Keys, certificates or addresses cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The data folder cannot be used.
    #[error("files and batches cannot be kept")]
    Storage(#[source] StoreError),
    /// The judging log cannot be opened.
    #[error(transparent)]
    JudgingLog(#[from] LogError),
    /// What the engine runs cannot be recorded.
    #[error(transparent)]
    CrashRecord(#[from] CrashRecordError),
    /// The system does not start the thread that loads the critic.
    #[error("no thread can be started")]
    LoadingThread(#[source] io::Error),
    /// Loading the critic panicked.
    #[error("the critic was not loaded, since loading it panicked")]
    LoadingPanicked,
    /// The critic cannot be loaded.
    #[error(transparent)]
    Critic(#[from] BootError),
    /// The system refuses something else: the address of a socket, or the thread of the judging log.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The task that accepts connections panicked.
    #[error(transparent)]
    Accepting(#[from] JoinError),
    /// The engine has stopped or is stuck.
    #[error(transparent)]
    Engine(#[from] EngineGone),
}

impl ServeError {
    /// The exit status; `None` for the general one.
    pub(crate) fn status(&self) -> Option<Status> {
        match self {
            Self::Telemetry(error) => match error {
                TelemetryError::Collector { .. } | TelemetryError::Filter { .. } => {
                    Some(Status::Misconfigured)
                }
                TelemetryError::Started(_) => None,
            },
            Self::Listen(error) => Some(status_of_listen(error)),
            Self::Storage(error) | Self::CrashRecord(CrashRecordError::Store(error)) => {
                Some(status_of_storage(error))
            }
            // What has no status of its own is wrong with the configuration of the server.
            Self::Critic(error) => Some(error.status().unwrap_or(Status::Misconfigured)),
            Self::Variable(_)
            | Self::Relations(_)
            | Self::RemoteImages(_)
            | Self::JudgingLog(_)
            | Self::CrashRecord(_) => Some(Status::Misconfigured),
            Self::Runtime(_) | Self::LoadingThread(_) => Some(Status::NoResources),
            Self::LoadingPanicked | Self::Engine(_) => Some(Status::Failed),
            Self::Signals(_) | Self::System(_) | Self::Accepting(_) => None,
        }
    }
}

fn status_of_listen(error: &ListenError) -> Status {
    match error {
        // It may be free soon.
        ListenError::Address { error, .. } if error.kind() == io::ErrorKind::AddrInUse => Status::Taken,
        // A port for which the process lacks a privilege.
        ListenError::Address { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
            Status::Misconfigured
        }
        // A name that cannot be resolved yet, or an address that the machine does not have yet, since it boots.
        ListenError::Address { .. } => Status::Unavailable,
        ListenError::Keys(_)
        | ListenError::Tls(_)
        | ListenError::OpenToAll(_)
        | ListenError::NoAdminKey(_) => Status::Misconfigured,
    }
}

fn status_of_storage(error: &StoreError) -> Status {
    match error {
        StoreError::Taken { .. } => Status::Taken,
        // It may be freed.
        StoreError::Disk(_) => Status::Unavailable,
        // All others are about the folder, which a restart does not change.
        _ => Status::Misconfigured,
    }
}
