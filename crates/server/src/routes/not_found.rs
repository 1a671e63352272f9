//! The errors for unknown paths and for methods that a path does not take.

use axum::{
    extract::{MatchedPath, State},
    http::{Method, Uri},
};

use crate::{error::ApiError, service::state::AppState};

/// Handles requests to unknown paths.
pub(crate) async fn unknown(State(state): State<AppState>, uri: Uri) -> ApiError {
    state.paths.unknown(uri.path())
}

/// Handles requests with a method that the path does not take. axum adds the header `allow`.
pub(crate) async fn wrong_method(
    State(state): State<AppState>,
    method: Method,
    matched: Option<MatchedPath>,
) -> ApiError {
    state.paths.wrong_method(&method, matched.as_ref().map_or("", MatchedPath::as_str))
}
