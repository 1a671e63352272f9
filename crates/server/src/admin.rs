//! The door for administration: figures, reading files again, stopping. It is another listener, so that a proxy that leads to the
//! main port leads nobody here.

use std::net::IpAddr;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    middleware,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{
    access::{AdminDoor, guard_admin},
    error::ApiError,
    health, metrics,
    reload::{ReloadedBody, reload},
    state::AppState,
};

/// What there is, for whoever asks for something else.
const HERE: &str =
    "The listener for administration has GET /metrics, POST /reload, POST /drain and the probes.";

/// The routes, for whoever `door` lets in.
pub(crate) fn router(state: &AppState, door: AdminDoor) -> Router<AppState> {
    let guard = middleware::from_fn_with_state((state.access.clone(), door), guard_admin);
    Router::new()
        .route("/metrics", get(metrics::scrape))
        .route("/reload", post(reload_all))
        .route("/drain", post(drain))
        .method_not_allowed_fallback(wrong_method)
        .layer(guard)
        // Where the main port speaks TLS, whoever looks after the process asks here.
        .merge(health::probes().split_for_parts().0.method_not_allowed_fallback(wrong_method))
        .fallback(unknown)
}

async fn unknown() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", format!("There is nothing at this path. {HERE}"))
}

async fn wrong_method() -> ApiError {
    let message = format!("This path does not take this method. {HERE}");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// Reads keys, certificates and rubrics again.
async fn reload_all(State(state): State<AppState>) -> Result<Json<ReloadedBody>, ApiError> {
    reload(&state).await.map(Json)
}

/// Ends the server as a signal to stop does: what runs is finished first.
async fn drain(State(state): State<AppState>) -> (StatusCode, Json<Value>) {
    tracing::info!("told to stop through the door for administration");
    state.lifecycle.leave();
    (StatusCode::ACCEPTED, Json(json!({ "status": "draining" })))
}

/// An address for the door: `host:port`, or a port alone, which is one of this machine.
pub(crate) fn address_of(text: &str) -> String {
    let text = text.strip_prefix(':').unwrap_or(text);
    if text.parse::<u16>().is_ok() { format!("127.0.0.1:{text}") } else { text.to_owned() }
}

/// Who may come through a door at `address`.
pub(crate) fn door_at(address: IpAddr, open: bool) -> AdminDoor {
    match (address.to_canonical().is_loopback(), open) {
        (true, _) => AdminDoor::Local,
        (false, true) => AdminDoor::Open,
        (false, false) => AdminDoor::Keyed,
    }
}
