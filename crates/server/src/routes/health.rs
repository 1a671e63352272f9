//! The probes for liveness and readiness, and the figures of the engine. Nothing here waits for the engine.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use judge::{MANY_NON_FINITE, Stats};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::{ApiError, ErrorBody, ErrorCode},
    service::{lifecycle::Phase, state::AppState},
};

/// The route that needs a key: `/health`, which has figures of the server.
pub(crate) fn figures() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health))
}

/// The probes for supervisors, which reveal nothing but yes or no and need no key.
pub(crate) fn probes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(ready_by_its_older_name))
        .routes(routes!(ping))
        .routes(routes!(started))
        .routes(routes!(healthy_by_its_older_name))
}

/// The shortest time after which a running step is doubtful, on any device.
const MIN_STALL: Duration = Duration::from_secs(10);
/// A step is doubtful only from this many times the longest step so far: on a slow device, steps of a large critic
/// are long.
const STALL_FACTOR: u32 = 4;
/// A step is regarded as stuck after this many times the time from which it is doubtful.
const STUCK_FACTOR: u32 = 6;

/// Whether the engine makes progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It does, or is idle.
    Moving,
    /// A step takes suspiciously long.
    Stalled,
    /// A step has taken so long that it is not expected to end.
    Stuck,
}

impl Progress {
    /// The progress of an engine with these figures.
    pub(crate) fn of(stats: &Stats) -> Self {
        let doubtful = MIN_STALL.max(stats.longest_step * STALL_FACTOR);
        match stats.step_running {
            running if running < doubtful => Self::Moving,
            running if running < doubtful * STUCK_FACTOR => Self::Stalled,
            _ => Self::Stuck,
        }
    }
}

/// State of a server that is alive.
#[derive(Serialize, ToSchema)]
struct HealthBody {
    /// Always `ok`.
    status: &'static str,
    /// Version of the server.
    version: &'static str,
    /// Name of the checkpoint.
    model: String,
    /// Maximum number of tokens of a prompt and its output together.
    context_length: usize,
    /// Figures of the engine.
    engine: EngineBody,
}

/// Figures of the engine.
#[derive(Serialize, ToSchema)]
struct EngineBody {
    /// Sequences that are running.
    running: usize,
    /// Sequences in the queue; a request may have several.
    waiting: usize,
    /// Sequences in the queue whose verdict is read from logits, without text.
    waiting_scores: usize,
    /// Prompt tokens in the queue, without those that are cached from earlier prompts.
    waiting_tokens: usize,
    /// Cache blocks that no running sequence holds, including those kept for later requests.
    free_blocks: usize,
    /// Cache blocks that hold the beginnings of prompts for later requests.
    cached_blocks: usize,
    /// Cache blocks in all.
    total_blocks: usize,
    /// Steps run since the start.
    steps: u64,
    /// Tokens run through the model since the start, prompts included.
    tokens: u64,
    /// Recent tokens per second of work, prompts included; 0 before the first step.
    tokens_per_second: u64,
}

/// An idle server, as the example of the API document.
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

/// Whether the server is alive, with the figures of its engine.
#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    responses((status = 200, description = "The server is alive.", body = HealthBody, example = json!(example())), (status = 503, description = "The engine has stopped.", body = ErrorBody))
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

/// The response of a probe.
#[derive(Serialize, ToSchema)]
struct ProbeBody {
    /// `ok`, `ready` or `started`.
    status: &'static str,
}

/// Whether the process should be kept: its engine runs and is not stuck in a step.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "health",
    responses((status = 200, description = "The server is alive.", body = ProbeBody, example = json!({ "status": "ok" })), (status = 503, description = "The engine has stopped, or is stuck.", body = ErrorBody))
)]
async fn live(State(state): State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    let stats = state.judge.stats();
    match Progress::of(&stats) {
        _ if !stats.alive => Err(stopped()),
        Progress::Stuck => Err(stalled()),
        Progress::Moving | Progress::Stalled => Ok(Json(ProbeBody { status: "ok" })),
    }
}

/// Whether new requests should be sent here: the critic is loaded and warmed up, the engine makes progress and computes
/// finite numbers, and the server has not been told to stop.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses((status = 200, description = "The server accepts requests.", body = ProbeBody, example = json!({ "status": "ready" })), (status = 503, description = "The server is starting or stopping, or its engine stalls or computes non-finite numbers.", body = ErrorBody))
)]
async fn ready(State(state): State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    let stats = state.judge.stats();
    match (state.lifecycle.phase(), Progress::of(&stats)) {
        _ if !stats.alive => Err(stopped()),
        (Phase::Starting | Phase::Pausing | Phase::Draining, _) => Err(ApiError::out_of_service(
            ErrorCode::NotReady,
            "The server starts or stops: send no new requests.",
        )),
        (Phase::Ready, Progress::Stalled | Progress::Stuck) => Err(stalled()),
        (Phase::Ready, Progress::Moving) if stats.recent_non_finite >= MANY_NON_FINITE => Err(doubtful()),
        (Phase::Ready, Progress::Moving) => Ok(Json(ProbeBody { status: "ready" })),
    }
}

/// The same as `/readyz`.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "health",
    responses((status = 200, description = "The server accepts requests.", body = ProbeBody, example = json!({ "status": "ready" })), (status = 503, description = "The server is starting or stopping, or its engine stalls or computes non-finite numbers.", body = ErrorBody))
)]
async fn ready_by_its_older_name(state: State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    ready(state).await
}

/// The same as `/livez`, at the path that other servers use.
#[utoipa::path(
    get,
    path = "/ping",
    tag = "health",
    responses(
        (status = 200, description = "The server is alive.", body = ProbeBody, example = json!({ "status": "ok" })),
        (status = 503, description = "The engine has stopped, or is stuck.", body = ErrorBody)
    )
)]
async fn ping(state: State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    live(state).await
}

/// The same as `/livez`, at the path that orchestrators used in the past.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses(
        (status = 200, description = "The server is alive.", body = ProbeBody, example = json!({ "status": "ok" })),
        (status = 503, description = "The engine has stopped, or is stuck.", body = ErrorBody)
    )
)]
async fn healthy_by_its_older_name(state: State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    live(state).await
}

/// Whether the critic is loaded and warmed up. Until then, only the probes are answered.
#[utoipa::path(
    get,
    path = "/startupz",
    tag = "health",
    responses((status = 200, description = "The server has started.", body = ProbeBody, example = json!({ "status": "started" })), (status = 503, description = "The server is starting, or the engine has stopped.", body = ErrorBody))
)]
async fn started(State(state): State<AppState>) -> Result<Json<ProbeBody>, ApiError> {
    if state.judge.stats().alive { Ok(Json(ProbeBody { status: "started" })) } else { Err(stopped()) }
}

fn stopped() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Stopped, "The engine has stopped.")
}

fn doubtful() -> ApiError {
    let message = "The model wrote no numbers for several requests in the last minute.";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::NumericalErrors, message)
}

fn stalled() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Stalled,
        "The engine is in a step that takes too long.",
    )
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
        // A step of minutes is not doubtful where steps take minutes.
        assert_eq!(progress(200, 100), Progress::Moving);
        assert_eq!(progress(400, 100), Progress::Stalled);
    }
}
