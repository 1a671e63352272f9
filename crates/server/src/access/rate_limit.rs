//! Counts requests against the quotas of their key, and reports the quotas in response headers.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{Extensions, HeaderName, HeaderValue, Method},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    account::{Account, Grant, RunningRequest},
    guard::OnBehalfOf,
};
use crate::{
    connections::guarded_body::GuardedBody,
    error::ApiError,
    metrics::Refusal,
    request::times::{ArrivedAt, time_limit},
};

/// The only lookup that makes the critic write.
const HEALTH_GENERATE: &str = "/health_generate";

/// How to treat a request whose key has no quota left.
#[derive(Debug, Clone, Copy)]
pub(crate) enum QuotaPolicy {
    /// Refuse it: clients of this interface retry.
    Refuse,
    /// Let it wait for at most this time: clients of this interface treat a refusal as a failure.
    Wait(Duration),
    /// Leave it to the handler, which knows by the body which clients these are; see [`Admission`]. A request waits for
    /// at most this time. Its body is in memory meanwhile, unlike those of requests under the other policies.
    ByBody(Duration),
}

/// The admission of a request by the quota of its key, which is to be decided once. Without a key, and thus by default,
/// a request is admitted. It is cloned only because the extensions of a request require it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission(Option<Arc<Candidate>>);

/// A request with a key. It counts as running from its admission until this is dropped.
#[derive(Debug)]
struct Candidate {
    grant: Arc<Grant>,
    /// When a request that waits is refused; `None` for never.
    end: Option<Instant>,
    /// Set once the request is admitted.
    running: OnceLock<RunningRequest>,
}

impl Admission {
    /// The admission of a request with these extensions, on a route with [`QuotaPolicy::ByBody`].
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Admits the request as [`QuotaPolicy::Refuse`] does.
    ///
    /// # Errors
    /// 429 if the key has no quota left.
    pub(crate) fn or_refuse(self) -> Result<(), ApiError> {
        if let Some(candidate) = self.0 {
            candidate.set(begin(candidate.grant.account())?);
        }
        Ok(())
    }

    /// Admits the request as [`QuotaPolicy::Wait`] does.
    ///
    /// # Errors
    /// 429 if the key had no quota left until the end of the time.
    pub(crate) async fn or_wait(self) -> Result<(), ApiError> {
        if let Some(candidate) = self.0 {
            candidate.set(begin_within(candidate.grant.account(), candidate.end).await?);
        }
        Ok(())
    }
}

impl Candidate {
    fn set(&self, running: RunningRequest) {
        // A request that is admitted twice would only use its quota twice.
        let _ = self.running.set(running);
    }
}

/// Whether a request counts: one that causes work, and none that looks something up or ends work.
fn counts(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if *request.method() == Method::POST { !route.ends_with("/cancel") } else { route == HEALTH_GENERATE }
}

/// Middleware that admits requests whose key has quota left, and adds the rate-limit headers of OpenAI's interface
/// to every response that [counts].
pub(crate) async fn rate_limit(State(policy): State<QuotaPolicy>, request: Request, next: Next) -> Response {
    let grant = request.extensions().get::<Arc<Grant>>().cloned();
    let Some(grant) = grant.filter(|_| counts(&request)) else {
        return next.run(request).await;
    };
    // The batch runner retries by itself.
    let on_behalf = request.extensions().get::<OnBehalfOf>().is_some();
    let policy = if on_behalf { QuotaPolicy::Refuse } else { policy };
    let answered = answer(policy, (grant.clone(), request), next).await;
    let mut response = answered.unwrap_or_else(ApiError::into_response);
    add_rate_limit_headers(grant.account(), &mut response);
    response
}

/// The response to a request that is admitted by `policy`.
///
/// # Errors
/// The refusal of a request that is not admitted, or whose own time limit is invalid.
async fn answer(
    policy: QuotaPolicy,
    (grant, mut request): (Arc<Grant>, Request),
    next: Next,
) -> Result<Response, ApiError> {
    let end = match policy {
        QuotaPolicy::Refuse => None,
        QuotaPolicy::Wait(most) | QuotaPolicy::ByBody(most) => {
            let arrived = Instant::now();
            // The wait counts towards the time limit of the request.
            request.extensions_mut().insert(ArrivedAt(arrived));
            arrived.checked_add(time_limit(request.headers(), most)?)
        }
    };
    let candidate = Arc::new(Candidate { grant, end, running: OnceLock::new() });
    let admission = Admission(Some(candidate.clone()));
    match policy {
        QuotaPolicy::Refuse => admission.or_refuse()?,
        QuotaPolicy::Wait(_) => admission.or_wait().await?,
        QuotaPolicy::ByBody(_) => {
            request.extensions_mut().insert(admission);
        }
    }
    Ok(next.run(request).await.map(|body| Body::new(GuardedBody::new(body, candidate))))
}

fn begin(account: &Account) -> Result<RunningRequest, ApiError> {
    // Check the concurrency limit first, so that a request refused by it uses nothing of the quota per minute.
    let running = account.begin().ok_or_else(|| {
        let most = account.key().concurrent_requests.unwrap_or_default();
        let message = format!(
            "Rate limit reached for concurrent requests: Limit {most} (concurrent_requests). Please retry after 1s."
        );
        ApiError::limited(message).with_retry_after(1).refused(Refusal::Concurrent)
    })?;
    account.take_request().map_err(ApiError::exhausted)?;
    Ok(running)
}

/// Like [`begin`], but waits until `end` at most; `None` waits without a limit.
async fn begin_within(account: &Account, end: Option<Instant>) -> Result<RunningRequest, ApiError> {
    let begun = account.begin_in_turn();
    let begun = match end {
        Some(end) => tokio::time::timeout_at(end.into(), begun).await.ok(),
        None => Some(begun.await),
    };
    // After a timeout, one last attempt returns the error that names the exhausted quota.
    begun.map_or_else(|| begin(account), Ok)
}

/// Adds the rate-limit headers of OpenAI's interface.
fn add_rate_limit_headers(account: &Account, response: &mut Response) {
    for (quota, level) in account.levels() {
        let Some(level) = level else { continue };
        for (what, value) in [
            ("limit", level.limit.to_string()),
            ("remaining", level.remaining.to_string()),
            ("reset", in_words(level.reset)),
        ] {
            let name = HeaderName::try_from(format!("x-ratelimit-{what}-{quota}"));
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

/// Formats a duration as in OpenAI's rate-limit headers: `250ms`, `1.5s`, `6m0s`.
fn in_words(duration: Duration) -> String {
    // Rounded up, since a client that retries too early is refused again.
    let milliseconds = duration.as_nanos().div_ceil(1_000_000);
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    match (seconds, rest) {
        (0, rest) => format!("{rest}ms"),
        (seconds, 0) if seconds < 60 => format!("{seconds}s"),
        (seconds, rest) if seconds < 60 => {
            format!("{seconds}.{}s", format!("{rest:03}").trim_end_matches('0'))
        }
        (seconds, _) => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_told_as_clients_know_them() {
        let told = |milliseconds| in_words(Duration::from_millis(milliseconds));
        assert_eq!(
            [0, 1, 999, 1000, 1500, 59_001, 60_000, 61_250].map(told),
            ["0ms", "1ms", "999ms", "1s", "1.5s", "59.001s", "1m0s", "1m1s"]
        );
        assert_eq!(in_words(Duration::from_nanos(1)), "1ms");
    }
}
