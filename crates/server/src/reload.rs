//! Files that are read again while the server runs: keys, certificates, rubrics. Each stays as it was when its file is wrong.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use axum::http::StatusCode;
use serde::Serialize;

use crate::{dialects::native::reload_rubrics, error::ApiError, state::AppState};

/// How often files are looked at: certificates and keys are replaced days before the old ones end.
const LOOK: Duration = Duration::from_secs(5);

/// What was read again.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ReloadedBody {
    /// How many keys there are.
    keys: usize,
    /// Whether there are certificates.
    certificates: bool,
    /// How many rubrics there are; nothing where no folder was given.
    rubrics: Option<usize>,
}

/// Reads everything again.
///
/// # Errors
/// All that is wrong. What is right is in force all the same.
pub(crate) async fn reload(state: &AppState) -> Result<ReloadedBody, ApiError> {
    let mut problems = Vec::new();
    let mut body = read_secrets(state).await.unwrap_or_else(|problem| {
        problems.push(problem);
        ReloadedBody::default()
    });
    if state.config_dir.is_some() {
        match reload_rubrics(state).await {
            Ok(count) => body.rubrics = Some(count),
            Err(error) => problems.push(error.message().to_owned()),
        }
    }
    let read = if problems.is_empty() { Ok(body) } else { Err(problems.join("\n")) };
    state.metrics.reloaded(&read);
    read.map_err(|message| {
        tracing::error!(message, "not everything could be read again");
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration", message)
    })
}

/// Reads keys and certificates again.
async fn read_secrets(state: &AppState) -> Result<ReloadedBody, String> {
    let (access, tls) = (state.access.clone(), state.tls.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let keys = access.reload();
        let certificates = tls.as_ref().map(|tls| tls.reload()).transpose();
        match (keys, certificates) {
            (Ok(keys), Ok(certificates)) => {
                tracing::info!(
                    keys,
                    certificates = certificates.is_some(),
                    "keys and certificates were read again"
                );
                Ok(ReloadedBody { keys, certificates: certificates.is_some(), rubrics: None })
            }
            (keys, certificates) => {
                let problems = [keys.err(), certificates.err()].into_iter().flatten();
                Err(problems.map(|problem| format!("{problem:#}")).collect::<Vec<_>>().join("\n"))
            }
        }
    });
    reading.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Reads keys and certificates again whenever one of their files has changed; never ends.
pub(crate) async fn watch_files(state: AppState) {
    let paths: Vec<PathBuf> = {
        let of_tls = state.tls.iter().flat_map(|tls| tls.paths());
        state.access.paths().chain(of_tls).map(Path::to_owned).collect()
    };
    if paths.is_empty() {
        return;
    }
    let mut known = times(paths.clone()).await;
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        let now = times(paths.clone()).await;
        if now != known {
            known = now;
            let read = read_secrets(&state).await;
            state.metrics.reloaded(&read);
            if let Err(problem) = read {
                tracing::error!(problem, "a changed file could not be read; what was in force stays");
            }
        }
    }
}

/// When each file was last changed.
async fn times(paths: Vec<PathBuf>) -> Vec<Option<SystemTime>> {
    let time = |path: &PathBuf| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    let looking = tokio::task::spawn_blocking(move || paths.iter().map(time).collect());
    looking.await.unwrap_or_default()
}
