//! For whom a request is run: the bearer token names the tenant, the server's time limit makes the deadline.

use std::{convert::Infallible, time::Instant};

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use judge::{Caller, Tenant, Urgency};

use crate::state::AppState;

/// The caller of a request. Whoever sends the same token is the same tenant; those who send none are one tenant too.
pub(crate) struct CallerOf(pub(crate) Caller);

impl FromRequestParts<AppState> for CallerOf {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let token = parts.headers.get(header::AUTHORIZATION);
        let token = token.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let deadline = Instant::now().checked_add(state.request_timeout);
        Ok(Self(Caller { tenant: Tenant(token.into()), deadline, urgency: Urgency::Now }))
    }
}
