//! Reloads keys, certificates and rubrics while the server runs. Each of them stays as it was if its file is invalid.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use axum::http::StatusCode;
use judge::{JudgeError, RubricLibrary};
use serde::Serialize;
use tokio::task::JoinError;

use crate::{
    access::KeysError,
    connections::TlsError,
    error::{ApiError, Dialect, ErrorCode, with_causes},
    service::state::AppState,
};

/// Interval at which files are checked for changes: certificates and keys are replaced days before the old ones expire.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The result of a reload.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ReloadedBody {
    /// Number of keys.
    keys: usize,
    /// Whether the server has certificates.
    certificates: bool,
    /// Number of rubrics; `None` without `--config-dir`.
    rubrics: Option<usize>,
}

/// Reloads everything.
///
/// # Errors
/// 422 `invalid_configuration` with all problems. Files without problems are in force all the same.
pub(crate) async fn reload(state: &AppState) -> Result<ReloadedBody, ApiError> {
    let mut problems = Vec::new();
    // The folder first: its forms may be those of new keys.
    let mut rubrics = None;
    if state.config_dir.is_some() {
        match reload_rubrics(state).await {
            Ok(count) => rubrics = Some(count),
            Err(error) => problems.push(error.message().to_owned()),
        }
    }
    let secrets = read_secrets(state).await.unwrap_or_else(|errors| {
        problems.push(in_lines(&errors));
        ReloadedBody::default()
    });
    let body = ReloadedBody { rubrics, ..secrets };
    let read = if problems.is_empty() { Ok(body) } else { Err(problems.join("\n")) };
    state.metrics.reloaded(&read);
    read.map_err(|problem| {
        tracing::error!(problem, "not everything could be read again");
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::InvalidConfiguration, problem)
    })
}

/// Reloads the folder of rubrics and profiles; returns the number of rubrics.
///
/// # Errors
/// 409 `no_config_dir` without a folder. If a file has an error, its problems, and all rubrics stay as they were.
pub(crate) async fn reload_rubrics(state: &AppState) -> Result<usize, ApiError> {
    let folder = state.config_dir.as_ref().ok_or_else(|| {
        let message = "The server was started without --config-dir, so that there is nothing to read again.";
        ApiError::new(StatusCode::CONFLICT, ErrorCode::NoConfigDir, message)
    })?;
    let folder = folder.clone().lock_owned().await;
    let judge = state.judge.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let library = RubricLibrary::with_folder(&folder)?;
        judge.replace_library(library);
        drop(folder); // held until the new rubrics are in force, even when the client leaves
        Ok::<_, JudgeError>(())
    });
    let read = reading.await.map_err(|error| {
        tracing::error!(%error, "the rubrics could not be read again");
        let message = "The server failed on this request.";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::InternalError, message)
    })?;
    read.map_err(|error| ApiError::from_judge(error, Dialect::Native))?;
    tracing::info!("rubrics and critic profiles were read again");
    Ok(state.judge.rules().library().rubrics().count())
}

/// Why keys or certificates stay as they were.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Certificates(#[from] TlsError),
    /// Reading them panicked, or the server ends.
    #[error(transparent)]
    Unread(#[from] JoinError),
}

/// All errors with their causes, each on a line of its own.
fn in_lines(errors: &[ReloadError]) -> String {
    errors.iter().map(|error| with_causes(error)).collect::<Vec<_>>().join("\n")
}

/// Reloads keys and certificates.
///
/// # Errors
/// Everything that is wrong with either.
async fn read_secrets(state: &AppState) -> Result<ReloadedBody, Vec<ReloadError>> {
    let (access, tls, rules) = (state.access.clone(), state.tls.clone(), state.judge.rules());
    let reading = tokio::task::spawn_blocking(move || {
        let known = |form: &str| rules.library().form(form).is_some();
        let keys = access.check_forms(known).and_then(|()| access.reload()).map_err(ReloadError::from);
        let certificates = tls.as_ref().map(|tls| tls.reload()).transpose().map_err(ReloadError::from);
        match (keys, certificates) {
            (Ok(keys), Ok(certificates)) => {
                tracing::info!(
                    keys,
                    certificates = certificates.is_some(),
                    "keys and certificates were read again"
                );
                Ok(ReloadedBody { keys, certificates: certificates.is_some(), rubrics: None })
            }
            (keys, certificates) => Err([keys.err(), certificates.err()].into_iter().flatten().collect()),
        }
    });
    reading.await.unwrap_or_else(|error| Err(vec![error.into()]))
}

/// Files that are watched for changes.
#[derive(Debug)]
pub(crate) struct WatchedFiles {
    paths: Vec<PathBuf>,
    /// Their modification times when they were last looked at.
    known: Vec<Option<SystemTime>>,
}

impl WatchedFiles {
    /// The files at `paths`, to be watched for changes from now on.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let known = times(&paths);
        Self { paths, known }
    }

    /// Whether one of the files has changed since the last look.
    async fn have_changed(&mut self) -> bool {
        let paths = self.paths.clone();
        let looking = tokio::task::spawn_blocking(move || times(&paths));
        // An error means that the process ends.
        let Ok(now) = looking.await else { return false };
        let changed = now != self.known;
        self.known = now;
        changed
    }
}

/// Reloads keys and certificates whenever one of their `files` has changed. Runs forever, unless there are no such
/// files.
pub(crate) async fn watch_files(state: AppState, mut files: WatchedFiles) {
    if files.paths.is_empty() {
        return;
    }
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    loop {
        ticks.tick().await;
        if files.have_changed().await {
            let read = read_secrets(&state).await;
            state.metrics.reloaded(&read);
            if let Err(errors) = read {
                let problem = in_lines(&errors);
                tracing::error!(problem, "a changed file could not be read; what was in force stays");
            }
        }
    }
}

/// The modification time of each file; `None` if it cannot be read.
fn times(paths: &[PathBuf]) -> Vec<Option<SystemTime>> {
    let time = |path: &PathBuf| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    paths.iter().map(time).collect()
}
