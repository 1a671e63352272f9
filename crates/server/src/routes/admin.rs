//! The administration listener: metrics, reload and drain. It is separate from the main listener, so that a proxy that
//! forwards to the main port does not expose it.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::IntoResponse,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{
    access::{AdminAccess, Grant, guard_admin},
    error::{ApiError, ErrorCode},
    metrics::{Sources, count_request},
    request::{head, id},
    routes::health,
    service::{
        reload::{ReloadedBody, reload},
        state::AppState,
    },
};

/// The available routes, named in the messages for other paths and methods.
const HERE: &str =
    "The listener for administration has GET /metrics, POST /reload, POST /drain and the probes.";

/// The content type of Prometheus' text format.
const FIGURES: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes of the administration listener. `access` guards all of them but the probes.
pub(crate) fn router(state: &AppState, access: AdminAccess) -> Router<AppState> {
    let guard = middleware::from_fn_with_state((state.access.clone(), access), guard_admin);
    Router::new()
        .route("/metrics", get(metrics))
        .route("/reload", post(reload_all))
        .route("/drain", post(drain))
        .method_not_allowed_fallback(wrong_method)
        .layer(guard)
        // Supervisors can probe this listener where the main port requires TLS.
        .merge(health::probes().split_for_parts().0.method_not_allowed_fallback(wrong_method))
        .fallback(unknown)
        // As on the main port.
        .layer(middleware::from_fn_with_state(state.limits.head, head::check))
        .layer(middleware::from_fn_with_state(state.metrics.clone(), count_request))
        .layer(middleware::from_fn(id::name_request))
}

async fn unknown() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        ErrorCode::NotFound,
        format!("There is nothing at this path. {HERE}"),
    )
}

async fn wrong_method() -> ApiError {
    let message = format!("This path does not take this method. {HERE}");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::MethodNotAllowed, message)
}

/// `GET /metrics`: all metrics in Prometheus' text format.
async fn metrics(State(state): State<AppState>) -> impl IntoResponse + use<> {
    let sources = Sources {
        judge: &state.judge,
        connections: &state.connections,
        body_bytes: state.body_memory.bytes(),
        dropped_log_lines: state.telemetry.dropped_lines(),
        storage: state.storage.figures().await,
    };
    ([(header::CONTENT_TYPE, FIGURES)], state.metrics.render(&sources))
}

/// `GET /metrics` while the critic is being loaded, when there are no metrics: an error would make Prometheus report each
/// server that starts as one that is down.
pub(crate) fn no_metrics_yet() -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, FIGURES)], "# The critic is being loaded.\n")
}

/// `GET /metrics` on the main port. On a server with keys it needs `--metrics-on-main` and a key for administration.
pub(crate) async fn metrics_on_main(
    State(state): State<AppState>,
    grant: Option<Extension<Arc<Grant>>>,
) -> Result<impl IntoResponse, ApiError> {
    if !state.access.shows_figures_on_main() {
        let message =
            "The figures are at the listener for administration (--admin-address, --metrics-on-main).";
        return Err(ApiError::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message));
    }
    if grant.is_some_and(|Extension(grant)| !grant.account().key().admin) {
        return Err(ApiError::not_admin());
    }
    Ok(metrics(State(state)).await)
}

/// `POST /reload`: reloads keys, certificates and rubrics.
async fn reload_all(State(state): State<AppState>) -> Result<Json<ReloadedBody>, ApiError> {
    reload(&state).await.map(Json)
}

/// `POST /drain`: stops the server as a termination signal does; running requests are finished first.
async fn drain(State(state): State<AppState>) -> (StatusCode, Json<Value>) {
    tracing::info!("told to stop through the listener for administration");
    state.lifecycle.request_shutdown();
    (StatusCode::ACCEPTED, Json(json!({ "status": "draining" })))
}

/// The address to bind for `--admin-address`: `host:port`, or a port alone, which is bound on 127.0.0.1.
pub(crate) fn address_of(text: &str) -> String {
    let text = text.strip_prefix(':').unwrap_or(text);
    if text.parse::<u16>().is_ok() { format!("127.0.0.1:{text}") } else { text.to_owned() }
}

/// Whether other machines may use a listener without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyless {
    /// They may (`--insecure-no-auth`).
    Allowed,
    /// They may not.
    Refused,
}

/// Who may use an administration listener bound to `address`.
pub(crate) fn access_at(address: IpAddr, keyless: Keyless) -> AdminAccess {
    match (address.to_canonical().is_loopback(), keyless) {
        (true, _) => AdminAccess::Local,
        (false, Keyless::Allowed) => AdminAccess::Open,
        (false, Keyless::Refused) => AdminAccess::Keyed,
    }
}
