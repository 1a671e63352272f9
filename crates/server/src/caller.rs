//! The caller of a request. The key, or on a server without keys the bearer token, names the tenant; the deadline
//! follows from the server's time limit or a shorter one in the request. A separate limit bounds the time in the
//! queue.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};
use judge::{Caller, QueueTimeout, Tenant, Terms, Ticket, Urgency};
use sha2::{Digest, Sha256};

use crate::{access::Grant, error::ApiError, hexadecimal::hexadecimal, state::AppState};

/// The cache salt: requests of one tenant share cached prompts only if their salts are equal.
const SALT: HeaderName = HeaderName::from_static("x-gavel-cache-salt");
/// Maximum length of a salt, in bytes, here and in bodies.
pub(crate) const MAX_SALT_BYTES: usize = 256;
/// The client's own time limit, in milliseconds.
const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// Time limits of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestTimes {
    /// In the queue, before any work is done for it.
    pub(crate) queue: Duration,
    /// From its head to the end of its response.
    pub(crate) whole: Duration,
}

/// The caller of a request. Requests with the same key, or without keys the same bearer token, have the same tenant;
/// those without a token share one tenant too.
pub(crate) struct RequestCaller(pub(crate) Caller);

/// Extension of a request that the server makes internally for a client, such as a line of a batch. Clients cannot
/// set it.
#[derive(Debug, Clone)]
pub(crate) struct OnBehalfOf(pub(crate) Caller);

/// Extension with the arrival time of a request that waited for its quota before its handler ran.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArrivedAt(pub(crate) Instant);

impl FromRequestParts<AppState> for RequestCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let grant = parts.extensions.get::<Arc<Grant>>();
        if let Some(OnBehalfOf(caller)) = parts.extensions.get() {
            // Each of them is a separate request with a ticket of its own.
            let mut caller = Caller { ticket: Ticket::default(), ..caller.clone() };
            if let Some(grant) = grant {
                caller.terms = grant.account().terms("".into());
                caller.allowance = Some(grant.clone());
            }
            return Ok(Self(caller));
        }
        let salt = parts.headers.get(&SALT).map_or(Ok(""), HeaderValue::to_str);
        let salt = salt.ok().filter(|salt| salt.len() <= MAX_SALT_BYTES).ok_or_else(|| {
            ApiError::invalid(SALT.as_str(), format!("At most {MAX_SALT_BYTES} plain letters are wanted."))
        })?;
        let now = Instant::now();
        let arrived = parts.extensions.get::<ArrivedAt>().map_or(now, |ArrivedAt(arrived)| *arrived);
        let deadline = arrived.checked_add(time_limit(&parts.headers, state.limits.times.whole)?);
        let queue_timeout = Some(QueueTimeout::new(now, state.limits.times.queue));
        let caller = match grant {
            Some(grant) => Caller {
                tenant: grant.account().tenant(),
                terms: grant.account().terms(salt.into()),
                allowance: Some(grant.clone()),
                deadline,
                queue_timeout,
                urgency: Urgency::Now,
                ticket: Ticket::default(),
            },
            None => {
                let terms = Terms { cache_salt: salt.into(), ..Terms::default() };
                Caller { tenant: bearer(parts), terms, deadline, queue_timeout, ..Caller::default() }
            }
        };
        Ok(Self(caller))
    }
}

/// The time limit of a request: that of its header, but at most `longest`, the server's own.
pub(crate) fn time_limit(headers: &HeaderMap, longest: Duration) -> Result<Duration, ApiError> {
    let Some(value) = headers.get(&TIMEOUT) else { return Ok(longest) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    // A number that does not fit into 64 bits is longer than any limit.
    let milliseconds = digits.filter(|text| !text.is_empty()).map(|text| text.parse().unwrap_or(u64::MAX));
    let limit = milliseconds.filter(|milliseconds| *milliseconds > 0).map(Duration::from_millis);
    limit.map(|limit| limit.min(longest)).ok_or_else(|| {
        ApiError::invalid(TIMEOUT.as_str(), "A whole number of milliseconds above 0 is wanted.")
    })
}

/// The tenant of a request on a server without keys.
fn bearer(parts: &Parts) -> Tenant {
    let token = parts.headers.get(header::AUTHORIZATION);
    match token.and_then(|value| value.to_str().ok()).unwrap_or_default() {
        "" => Tenant::default(),
        // A digest, since names of tenants are stored with their files, and tokens must not be.
        token => Tenant(hexadecimal(&Sha256::digest(token)).into()),
    }
}
