//! For whom a request is run: the bearer token names the tenant, the server's time limit makes the deadline.

use std::{convert::Infallible, time::Instant};

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use judge::{Caller, Tenant, Urgency};
use sha2::{Digest, Sha256};

use crate::state::AppState;

/// The caller of a request. Whoever sends the same token is the same tenant; those who send none are one tenant too.
pub(crate) struct CallerOf(pub(crate) Caller);

/// Part of a request that the server makes of itself for somebody, such as a line of a batch. No client can put it there.
#[derive(Debug, Clone)]
pub(crate) struct OnBehalfOf(pub(crate) Caller);

impl FromRequestParts<AppState> for CallerOf {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        if let Some(OnBehalfOf(caller)) = parts.extensions.get() {
            return Ok(Self(caller.clone()));
        }
        let deadline = Instant::now().checked_add(state.request_timeout);
        Ok(Self(Caller { tenant: tenant_of(parts), deadline, urgency: Urgency::Now }))
    }
}

/// The tenant of a request.
pub(crate) fn tenant_of(parts: &Parts) -> Tenant {
    if let Some(OnBehalfOf(caller)) = parts.extensions.get() {
        return caller.tenant.clone();
    }
    let token = parts.headers.get(header::AUTHORIZATION);
    match token.and_then(|value| value.to_str().ok()).unwrap_or_default() {
        "" => Tenant::default(),
        // Tenants' names are written down beside their files, and tokens must not be.
        token => {
            Tenant(Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
        }
    }
}
