//! Whether the server lives, whether it can take work, and the figures of its engine.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::{ApiError, ErrorBody},
    state::AppState,
};

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(ready))
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

/// Whether the server lives, with the figures of its engine.
#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    responses((status = 200, body = HealthBody), (status = 503, body = ErrorBody))
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

/// A server that takes work.
#[derive(Serialize, ToSchema)]
struct ReadyBody {
    /// Always `ready`.
    status: &'static str,
}

/// Whether the server takes work. It listens only when the critic is loaded.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "health",
    responses((status = 200, body = ReadyBody), (status = 503, body = ErrorBody))
)]
async fn ready(State(state): State<AppState>) -> Result<Json<ReadyBody>, ApiError> {
    if state.judge.stats().alive { Ok(Json(ReadyBody { status: "ready" })) } else { Err(stopped()) }
}

fn stopped() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "The engine has stopped.")
}
