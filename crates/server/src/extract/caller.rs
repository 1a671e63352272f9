//! The caller of a request. The key that it sends names the tenant, also on a server without keys; the deadline follows
//! from the server's time limit or a shorter one in the request. A separate limit bounds the time in the queue.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};
use judge::{Allowance, Caller, Client, QueueTimeout, Tenant, Terms, Ticket, Urgency};
use sha2::{Digest, Sha256};

use crate::{
    access::{Grant, OnBehalfOf, presented},
    error::ApiError,
    hexadecimal::hexadecimal,
    request::times::{ArrivedAt, time_limit},
    service::state::AppState,
};

/// The cache salt: requests of one tenant share cached prompts only if their salts are equal.
const SALT: HeaderName = HeaderName::from_static("x-gavel-cache-salt");
/// Maximum length of a salt, in bytes, here and in bodies.
pub(crate) const MAX_SALT_BYTES: usize = 256;

/// The caller of a request. Requests with the same key have the same tenant, also on a server without keys; those
/// without a key share one tenant too.
pub(crate) struct RequestCaller(pub(crate) Caller);

impl FromRequestParts<AppState> for RequestCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let grant = parts.extensions.get::<Arc<Grant>>();
        if let Some(OnBehalfOf(caller)) = parts.extensions.get() {
            // Each of them is a separate request with a ticket of its own.
            let mut caller = Caller { ticket: Ticket::default(), ..caller.clone() };
            if let Some(grant) = grant {
                caller.client.terms = grant.account().terms("".into());
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
        let (tenant, terms) = match grant {
            Some(grant) => (grant.account().tenant(), grant.account().terms(salt.into())),
            None => {
                let terms = Terms { cache_salt: salt.into(), ..Terms::default() };
                (unchecked_tenant(&parts.headers), terms)
            }
        };
        let client = Client { tenant, terms, urgency: Urgency::Now, deadline, queue_timeout };
        let allowance = grant.map(|grant| grant.clone() as Arc<dyn Allowance>);
        Ok(Self(Caller { client, allowance, ticket: Ticket::default() }))
    }
}

/// The tenant of a request on a server without keys: that of the key which it sends all the same, in any of the headers
/// for keys, or of another credential in `Authorization`.
fn unchecked_tenant(headers: &HeaderMap) -> Tenant {
    let key = presented(headers).filter(|key| !key.is_empty());
    // A key names the same tenant in each of the headers, the one that it has always had as a bearer token.
    let bearer = key.map(|key| [b"Bearer ".as_slice(), key].concat());
    let other = || headers.get(header::AUTHORIZATION).map(|value| value.as_bytes().to_owned());
    match bearer.or_else(other) {
        // A digest, since names of tenants are stored with their files, and keys must not be.
        Some(credential) if !credential.is_empty() => Tenant(hexadecimal(&Sha256::digest(credential)).into()),
        Some(_) | None => Tenant::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_one_tenant_in_whichever_header_it_is_sent() {
        let tenant = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            unchecked_tenant(&map).0
        };
        let one = tenant(&[("authorization", "Bearer a")]);
        assert_eq!(*one, *hexadecimal(&Sha256::digest("Bearer a")));
        for headers in [
            &[("authorization", "bearer  a")][..],
            &[("api-key", "a")],
            &[("x-api-key", "a")],
            &[("authorization", "Bearer a"), ("api-key", "a")],
        ] {
            assert_eq!(tenant(headers), one, "{headers:?}");
        }
        let nobody = Tenant::default().0;
        let basic = tenant(&[("authorization", "Basic a")]);
        assert!(![&one, &nobody].contains(&&basic));
        assert_ne!(tenant(&[("api-key", "b")]), one);
        for headers in [&[][..], &[("authorization", "")], &[("api-key", "")]] {
            assert_eq!(tenant(headers), nobody, "{headers:?}");
        }
    }
}
