//! Whether the server lives, whether it can take work, and the figures of its engine. Nothing here waits for the engine.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use judge::{MANY_NON_FINITE, Stats};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::{ApiError, ErrorBody},
    lifecycle::Phase,
    state::AppState,
};

/// The routes that tell something of the server.
pub(crate) fn figures() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(ready_by_its_older_name))
}

/// The routes that tell nothing but yes or no, for whoever watches over the server: nobody needs a key for them.
pub(crate) fn probes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(ping))
        .routes(routes!(started))
        .routes(routes!(healthy_by_its_older_name))
}

/// A step that takes so long is doubtful on any device.
const SLOW: Duration = Duration::from_secs(10);
/// A step of so many times the longest one before it is doubtful too: on a slow device, steps of a large critic are long.
const MUCH_LONGER: u32 = 4;
/// After so many times what is doubtful, nobody believes that the step will end.
const GIVEN_UP: u32 = 6;

/// Whether the engine moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It does, or has nothing to do.
    Moving,
    /// A step takes suspiciously long.
    Stalled,
    /// It will not end.
    Stuck,
}

impl Progress {
    /// What the engine's figures tell.
    pub(crate) fn of(stats: &Stats) -> Self {
        let doubtful = SLOW.max(stats.longest_step * MUCH_LONGER);
        match stats.step_running {
            running if running < doubtful => Self::Moving,
            running if running < doubtful * GIVEN_UP => Self::Stalled,
            _ => Self::Stuck,
        }
    }
}

/// A server that lives.
#[derive(Serialize, ToSchema)]
struct HealthBody {
    /// Always `ok`.
    status: &'static str,
    /// Version of the server.
    version: &'static str,
    /// Name of the checkpoint.
    model: String,
    /// The most tokens that a prompt and its output may have together.
    context_length: usize,
    /// Figures of the engine.
    engine: EngineBody,
}

/// Figures of the engine.
#[derive(Serialize, ToSchema)]
struct EngineBody {
    /// Sequences that are being written.
    running: usize,
    /// Requests that wait for their turn.
    waiting: usize,
    /// Those of them that want a verdict alone, read from logits.
    waiting_scores: usize,
    /// Tokens of the prompts that wait, those left out that are known from earlier ones.
    waiting_tokens: usize,
    /// Cache blocks that no running sequence holds; those kept for later requests are among them.
    free_blocks: usize,
    /// Cache blocks that hold the beginnings of prompts for later requests.
    cached_blocks: usize,
    /// Cache blocks in all.
    total_blocks: usize,
    /// Steps run since the start.
    steps: u64,
    /// Tokens run through the model since the start, prompts included.
    tokens: u64,
    /// Tokens run each second of work, lately; 0 before the first step.
    tokens_per_second: u64,
}

/// A server with nothing to do, as the API document shows it.
fn example() -> HealthBody {
    let (running, waiting, waiting_scores, waiting_tokens) = (0, 0, 0, 0);
    let (free_blocks, cached_blocks, total_blocks) = (10_922, 12, 10_922);
    let (steps, tokens, tokens_per_second) = (57, 1_204, 2_350);
    HealthBody {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        model: "gavel-mini".into(),
        context_length: 8192,
        engine: EngineBody {
            running,
            waiting,
            waiting_scores,
            waiting_tokens,
            free_blocks,
            cached_blocks,
            total_blocks,
            steps,
            tokens,
            tokens_per_second,
        },
    }
}

/// Whether the server lives, with the figures of its engine.
#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    responses((status = 200, description = "It lives.", body = HealthBody, example = json!(example())), (status = 503, description = "The engine has stopped.", body = ErrorBody))
)]
async fn health(State(state): State<AppState>) -> Result<Json<HealthBody>, ApiError> {
    let stats = state.judge.stats();
    if !stats.alive {
        return Err(stopped());
    }
    Ok(Json(HealthBody {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        model: state.judge.model().to_owned(),
        context_length: state.judge.context_length(),
        engine: EngineBody {
            running: stats.running,
            waiting: stats.waiting(),
            waiting_scores: stats.waiting_scores,
            waiting_tokens: stats.waiting_tokens,
            free_blocks: stats.free_blocks,
            cached_blocks: stats.cached_blocks,
            total_blocks: stats.total_blocks,
            steps: stats.steps,
            tokens: stats.tokens,
            tokens_per_second: stats.tokens_per_second,
        },
    }))
}

/// An answer to a probe.
#[derive(Serialize, ToSchema)]
struct ProbeBody {
    /// `ok`, `ready` or `started`.
    status: &'static str,
}

/// Whether the process is worth keeping: its engine runs and is not stuck in a step.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "health",
    responses((status = 200, description = "It is.", body = ProbeBody, example = json!({ "status": "ok" })), (status = 503, description = "The engine has stopped, or is stuck.", body = ErrorBody))
)]
async fn live(State(state): State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    let stats = state.judge.stats();
    match Progress::of(&stats) {
        _ if !stats.alive => Err(stopped()),
        Progress::Stuck => Err(stalled()),
        Progress::Moving | Progress::Stalled => Ok(Json(ProbeBody { status: "ok" })),
    }
}

/// Whether new requests should be sent here: the critic is loaded and tried, the engine moves and computes numbers, and
/// nobody has told the server to stop.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses((status = 200, description = "Requests can be sent.", body = ProbeBody, example = json!({ "status": "ready" })), (status = 503, description = "The server starts, stops, stalls, or computes no numbers.", body = ErrorBody))
)]
async fn ready(State(state): State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    let stats = state.judge.stats();
    match (state.lifecycle.phase(), Progress::of(&stats)) {
        _ if !stats.alive => Err(stopped()),
        (Phase::Starting | Phase::Pausing | Phase::Draining, _) => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            "The server starts or stops: send no new requests.",
        )),
        (Phase::Ready, Progress::Stalled | Progress::Stuck) => Err(stalled()),
        (Phase::Ready, Progress::Moving) if stats.non_finite_lately >= MANY_NON_FINITE => Err(doubtful()),
        (Phase::Ready, Progress::Moving) => Ok(Json(ProbeBody { status: "ready" })),
    }
}

/// The same as `/readyz`.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "health",
    responses((status = 200, description = "Requests can be sent.", body = ProbeBody, example = json!({ "status": "ready" })), (status = 503, description = "The server starts, stops, stalls, or computes no numbers.", body = ErrorBody))
)]
async fn ready_by_its_older_name(state: State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    ready(state).await
}

/// The same as `/livez`, where other servers have it.
#[utoipa::path(
    get,
    path = "/ping",
    tag = "health",
    responses(
        (status = 200, description = "It does.", body = ProbeBody, example = json!({ "status": "ok" })),
        (status = 503, description = "It does not.", body = ErrorBody)
    )
)]
async fn ping(state: State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    live(state).await
}

/// The same as `/livez`, where orchestrators have looked for it from old.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses(
        (status = 200, description = "It does.", body = ProbeBody, example = json!({ "status": "ok" })),
        (status = 503, description = "It does not.", body = ErrorBody)
    )
)]
async fn healthy_by_its_older_name(state: State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    live(state).await
}

/// Whether the critic is loaded and tried. Until then only the probes are answered.
#[utoipa::path(
    get,
    path = "/startupz",
    tag = "health",
    responses((status = 200, description = "It is.", body = ProbeBody, example = json!({ "status": "started" })), (status = 503, description = "It is not, or the engine has stopped.", body = ErrorBody))
)]
async fn started(State(state): State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    if state.judge.stats().alive { Ok(Json(ProbeBody { status: "started" })) } else { Err(stopped()) }
}

fn stopped() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "The engine has stopped.")
}

fn doubtful() -> ApiError {
    let message = "The model wrote no numbers for several requests in the last minute.";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "numerical_errors", message)
}

fn stalled() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "stalled", "The engine is in a step that takes too long.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_doubtful_by_what_steps_take() {
        let judge = judge::Judge::new(
            "null".into(),
            bench::null_critic(),
            judge::RubricLibrary::compiled_in().unwrap(),
            judge::EngineConfig::default(),
        );
        let progress = |running, longest| {
            let (step_running, longest_step) = (Duration::from_secs(running), Duration::from_secs(longest));
            Progress::of(&Stats { step_running, longest_step, ..judge.stats() })
        };
        assert_eq!(progress(0, 0), Progress::Moving);
        assert_eq!([9, 10, 59, 60].map(|running| progress(running, 1)), {
            [Progress::Moving, Progress::Stalled, Progress::Stalled, Progress::Stuck]
        });
        // Minutes are nothing where steps take minutes.
        assert_eq!(progress(200, 100), Progress::Moving);
        assert_eq!(progress(400, 100), Progress::Stalled);
    }
}
