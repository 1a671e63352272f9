//! The time limits of a request: the server's own, or a shorter one in the request.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName};

use crate::error::ApiError;

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

/// Extension with the arrival time of a request that waited for its quota before its handler ran.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArrivedAt(pub(crate) Instant);

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
