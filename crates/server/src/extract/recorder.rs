//! The recorder of a request's verdicts, from the judging log of the service.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};

use crate::{judging_log::Recorder, request::id::RequestId, service::state::AppState};

impl FromRequestParts<AppState> for Recorder {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let id = || parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone());
        Ok(Self::new(state.judging_log.clone(), id))
    }
}
