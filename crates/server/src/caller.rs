//! For whom a request is run: its key, or without keys its bearer token, names the tenant; the server's time limit, or a shorter
//! one of the client's own, makes the deadline. Another limit is for its time in line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};
use judge::{Caller, Patience, Tenant, Terms, Urgency};
use sha2::{Digest, Sha256};

use crate::{access::Grant, error::ApiError, hexadecimal::hexadecimal, state::AppState};

/// Keeps what is kept of a request's prompts from requests of the same key with another salt.
const SALT: HeaderName = HeaderName::from_static("x-gavel-cache-salt");
/// The longest salt.
const MAX_SALT: usize = 256;
/// How long the client waits, in milliseconds.
const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestTimes {
    /// In line, before anything is done for it.
    pub(crate) queue: Duration,
    /// From its head to the end of its answer.
    pub(crate) whole: Duration,
}

/// The caller of a request. Whoever has the same key, or without keys sends the same token, is the same tenant; those who send
/// none are one tenant too.
pub(crate) struct CallerOf(pub(crate) Caller);

/// Part of a request that the server makes of itself for somebody, such as a line of a batch. No client can put it there.
#[derive(Debug, Clone)]
pub(crate) struct OnBehalfOf(pub(crate) Caller);

/// When a request came, where its handler did not begin at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Came(pub(crate) Instant);

impl FromRequestParts<AppState> for CallerOf {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let grant = parts.extensions.get::<Arc<Grant>>();
        if let Some(OnBehalfOf(caller)) = parts.extensions.get() {
            let mut caller = caller.clone();
            if let Some(grant) = grant {
                caller.terms = grant.account().terms("".into());
                caller.allowance = Some(grant.clone());
            }
            return Ok(Self(caller));
        }
        let salt = parts.headers.get(&SALT).map_or(Ok(""), HeaderValue::to_str);
        let salt = salt.ok().filter(|salt| salt.len() <= MAX_SALT).ok_or_else(|| {
            ApiError::invalid(SALT.as_str(), format!("At most {MAX_SALT} plain letters are wanted."))
        })?;
        let now = Instant::now();
        let came = parts.extensions.get::<Came>().map_or(now, |Came(came)| *came);
        let deadline = came.checked_add(time_limit(&parts.headers, state.times.whole)?);
        let patience = Some(Patience::new(now, state.times.queue));
        let caller = match grant {
            Some(grant) => Caller {
                tenant: grant.account().tenant(),
                terms: grant.account().terms(salt.into()),
                allowance: Some(grant.clone()),
                deadline,
                patience,
                urgency: Urgency::Now,
            },
            None => {
                let terms = Terms { cache_salt: salt.into(), ..Terms::default() };
                let tenant = bearer(parts);
                Caller { tenant, terms, allowance: None, deadline, patience, urgency: Urgency::Now }
            }
        };
        Ok(Self(caller))
    }
}

/// The time that a request may take: what its client says, if that is shorter than what the server has for all.
pub(crate) fn time_limit(headers: &HeaderMap, longest: Duration) -> Result<Duration, ApiError> {
    let Some(value) = headers.get(&TIMEOUT) else { return Ok(longest) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    // So many milliseconds that they are no number are longer than any limit.
    let milliseconds = digits.filter(|text| !text.is_empty()).map(|text| text.parse().unwrap_or(u64::MAX));
    let limit = milliseconds.filter(|milliseconds| *milliseconds > 0).map(Duration::from_millis);
    limit.map(|limit| limit.min(longest)).ok_or_else(|| {
        ApiError::invalid(TIMEOUT.as_str(), "A whole number of milliseconds above 0 is wanted.")
    })
}

/// The tenant of a request where there are no keys.
fn bearer(parts: &Parts) -> Tenant {
    let token = parts.headers.get(header::AUTHORIZATION);
    match token.and_then(|value| value.to_str().ok()).unwrap_or_default() {
        "" => Tenant::default(),
        // Tenants' names are written down beside their files, and tokens must not be.
        token => Tenant(hexadecimal(&Sha256::digest(token)).into()),
    }
}
