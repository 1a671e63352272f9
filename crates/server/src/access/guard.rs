//! Lets nobody in whose key is not known, once there are keys.

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

use super::{
    Access,
    account::{Grant, ceiling},
};
use crate::{caller::OnBehalfOf, connections::Peer, error::ApiError, metrics::Refusal};

/// Headers that carry a key as it is.
static KEY_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("api-key"), HeaderName::from_static("x-api-key")];

/// What figures call the key of a request; part of its response.
#[derive(Debug, Clone)]
pub(crate) struct KeyLabel(pub(crate) Arc<str>);

/// Answers whoever has a key, or everybody where there are none; without keys, and on the machine's own address, only under a host
/// that is ours. Handlers find the [`Grant`] of the key in the request.
pub(crate) async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let keys = access.keys();
    let mut label = None;
    if !keys.is_empty() {
        // The key and not the path decides: what is asked for does not matter before it is known who asks.
        let account = match request.extensions().get::<OnBehalfOf>() {
            // What the server does for somebody takes from the quotas of whose key that was, as long as there is one.
            Some(OnBehalfOf(caller)) => keys.of(&caller.tenant, SystemTime::now()),
            None => presented(request.headers()).and_then(|key| keys.find(key, SystemTime::now())),
        };
        let Some(account) = account else { return unknown_key(&access, &request) };
        label = Some(KeyLabel(account.label()));
        request.extensions_mut().insert(Arc::new(Grant::new(account)));
    }
    let own = request.extensions().get::<OnBehalfOf>().is_some();
    let ours = if !own && (keys.is_empty() || access.hosts().always) {
        access.hosts().check(request.headers())
    } else {
        Ok(())
    };
    let mut response = match ours {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    if let Some(label) = label {
        response.extensions_mut().insert(label);
    }
    response
}

/// The same for the listener of administration: a key for it where `access` says that keys are asked for there, and never a page
/// in a browser.
pub(crate) async fn guard_admin(
    State((access, keyed)): State<(Access, AdminDoor)>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let known = |key| access.keys().find(key, SystemTime::now());
    if headers.contains_key(header::ORIGIN) {
        let message = "This listener is for administration and answers no pages in browsers.";
        return ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
            .refused(Refusal::Host)
            .into_response();
    }
    let allowed = match keyed {
        AdminDoor::Keyed => match presented(headers).and_then(known) {
            Some(account) if account.key().admin => Ok(()),
            Some(_) => Err(ApiError::not_admin()),
            None => return unknown_key(&access, &request),
        },
        AdminDoor::Local => access.hosts().check(headers),
        AdminDoor::Open => Ok(()),
    };
    match allowed {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Who may come through the door for administration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdminDoor {
    /// Whoever has a key for it.
    Keyed,
    /// Whoever is on the same machine.
    Local,
    /// Everybody, since the operator wants it so.
    Open,
}

/// Refuses who shows no key, or none that is known; and tells an address that shows many of these to wait.
fn unknown_key(access: &Access, request: &Request) -> Response {
    let peer = request.extensions().get::<Peer>();
    if let Some(Peer(peer)) = peer.filter(|_| presented(request.headers()).is_some())
        && let Err(wait) = access.guesses().count(peer.ip(), Instant::now())
    {
        let seconds = ceiling(wait).max(1);
        let message =
            format!("Too many keys from this address that are none. Please retry after {seconds}s.");
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_wrong_keys", message);
        let error = error.with_retry_after(seconds).refused(Refusal::Guessing);
        let mut response = error.into_response();
        // Each further one costs a connection.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    let message = "Incorrect API key provided, or none. It is sent as `Authorization: Bearer KEY`.";
    let error = ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message);
    let mut response = error.refused(Refusal::Unauthenticated).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The key that a request shows. Several that differ are none: it would be left to chance which one counts.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
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
