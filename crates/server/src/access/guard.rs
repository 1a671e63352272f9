//! Authenticates requests: once keys are configured, every request needs a valid one.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use judge::Caller;

use super::{
    Access,
    account::{Grant, ceiling},
};
use crate::{
    connections::{KnownClient, Peer},
    error::{ApiError, ErrorCode},
    metrics::{KeyLabel, Refusal},
};

/// Headers whose whole value is the key.
static KEY_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("api-key"), HeaderName::from_static("x-api-key")];

/// Extension of a request that the server makes internally for a client, such as a line of a batch. Clients cannot
/// set it.
#[derive(Debug, Clone)]
pub(crate) struct OnBehalfOf(pub(crate) Caller);

/// Middleware that lets a request with a valid key pass, or any request if no keys are configured. The host is
/// checked if there are no keys or the host rule always applies (on a loopback listener). Handlers find the
/// [`Grant`] of the key in the extensions of the request.
pub(crate) async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let keys = access.keys();
    let mut label = None;
    if !keys.is_empty() {
        // Only the key decides, not the path: an unauthenticated client learns nothing about which paths exist.
        let account = match request.extensions().get::<OnBehalfOf>() {
            // A request of the server on behalf of a tenant uses the quotas of that tenant's key, as long as the
            // key exists.
            Some(OnBehalfOf(caller)) => keys.of(&caller.client.tenant, SystemTime::now()),
            None => presented(request.headers()).and_then(|key| keys.find(key, SystemTime::now())),
        };
        let Some(account) = account else { return unknown_key(&access, &request) };
        label = Some(KeyLabel(account.label()));
        request.extensions_mut().insert(Arc::new(Grant::new(account)));
    }
    let own = request.extensions().get::<OnBehalfOf>().is_some();
    let ours = if !own && (keys.is_empty() || access.hosts().always) {
        access.hosts().check(request.uri(), request.headers())
    } else {
        Ok(())
    };
    let mut response = match ours {
        Ok(()) => answered(request, next).await,
        Err(error) => error.into_response(),
    };
    if let Some(label) = label {
        response.extensions_mut().insert(label);
    }
    response
}

/// Middleware of the admin listener. It checks the key or the host as `keyed` requires, and refuses every request
/// with an `Origin` header, which comes from a page in a browser.
pub(crate) async fn guard_admin(
    State((access, keyed)): State<(Access, AdminAccess)>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let known = |key| access.keys().find(key, SystemTime::now());
    if headers.contains_key(header::ORIGIN) {
        let message = "This listener is for administration and answers no pages in browsers.";
        return ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message)
            .refused(Refusal::Host)
            .into_response();
    }
    let keyed = match keyed {
        // The server has got keys since it started.
        AdminAccess::Open if !access.keys().is_empty() => AdminAccess::Keyed,
        at_start => at_start,
    };
    let allowed = match keyed {
        AdminAccess::Keyed => match presented(headers).and_then(known) {
            Some(account) if account.key().admin => Ok(()),
            Some(_) => Err(ApiError::not_admin()),
            None => return unknown_key(&access, &request),
        },
        AdminAccess::Local => access.hosts().check(request.uri(), headers),
        AdminAccess::Open => Ok(()),
    };
    match allowed {
        Ok(()) => answered(request, next).await,
        Err(error) => error.into_response(),
    }
}

/// The response to a client that may use the server.
async fn answered(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(KnownClient);
    response
}

/// Which clients may use the admin listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdminAccess {
    /// Clients with an admin key.
    Keyed,
    /// Clients on the same machine; the host is checked.
    Local,
    /// Every client as long as the server has no keys, because the operator configured it so; from then on clients with
    /// an admin key.
    Open,
}

/// Refuses a request without a valid key: with 401, or with 429 if its address has sent too many wrong keys.
fn unknown_key(access: &Access, request: &Request) -> Response {
    let peer = request.extensions().get::<Peer>();
    if let Some(Peer(peer)) = peer.filter(|_| presented(request.headers()).is_some())
        && let Err(wait) = access.failed_auth().count(peer.ip(), Instant::now())
    {
        let seconds = ceiling(wait).max(1);
        let message =
            format!("Too many keys from this address that are none. Please retry after {seconds}s.");
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyWrongKeys, message);
        let error = error.with_retry_after(seconds).refused(Refusal::Guessing);
        let mut response = error.into_response();
        // Each further wrong key costs the client a connection.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    let message = "Incorrect API key provided, or none. It is sent as `Authorization: Bearer KEY`.";
    let error = ApiError::new(StatusCode::UNAUTHORIZED, ErrorCode::InvalidApiKey, message);
    let mut response = error.refused(Refusal::Unauthenticated).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The key that a request carries. `None` if it carries several different ones, because which of them counts would
/// be arbitrary.
pub(crate) fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().map(|value| bearer(value.as_bytes()));
    let plain = KEY_HEADERS.iter().flat_map(|name| headers.get_all(name)).map(|value| Some(value.as_bytes()));
    let mut keys = bearers.chain(plain);
    let first = keys.next()??;
    keys.all(|key| key == Some(first)).then_some(first)
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_in_one_of_three_ways() {
        let shown = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            presented(&map).map(|key| String::from_utf8_lossy(key).into_owned())
        };
        for headers in [
            &[("authorization", "Bearer k")][..],
            &[("authorization", "bEARER  k ")],
            &[("api-key", "k")],
            &[("x-api-key", "k")],
            &[("authorization", "Bearer k"), ("api-key", "k")],
        ] {
            assert_eq!(shown(headers).as_deref(), Some("k"), "{headers:?}");
        }
        for headers in [
            &[][..],
            &[("authorization", "Basic k")],
            &[("authorization", "k")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer k"), ("authorization", "Bearer l")],
            &[("authorization", "Basic k"), ("x-api-key", "k")],
        ] {
            assert_eq!(shown(headers), None, "{headers:?}");
        }
    }
}
