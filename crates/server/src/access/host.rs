//! Checks the `Host` and `Origin` headers of servers that a browser can reach without a key.
//!
//! A malicious page can point its own host name at this machine (DNS rebinding) and then send any request. It
//! cannot do so under an IP address, a name without a dot, or a suffix that public name servers do not serve.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header, uri::Authority};

use crate::{
    error::{ApiError, ErrorCode},
    metrics::Refusal,
};

/// Suffixes of host names that cannot be registered publicly.
const PRIVATE: [&str; 5] = [".localhost", ".local", ".internal", ".svc", ".test"];

/// The hosts that requests may name.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostRule {
    /// Host names allowed in addition to the harmless ones; `*` allows all.
    pub(crate) allowed: Vec<String>,
    /// Whether the rule applies even if keys are required, because the server listens on a loopback address only.
    pub(crate) always: bool,
}

impl HostRule {
    /// Checks that the `Host` header and the URI, if it has a host, name allowed hosts, and that the `Origin` header,
    /// if present, names the same host or an allowed one. Requests without any host pass.
    ///
    /// # Errors
    /// 421 `host_not_allowed`.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let refused = |message: &str| {
            let error = ApiError::new(StatusCode::MISDIRECTED_REQUEST, ErrorCode::HostNotAllowed, message);
            Err(error.refused(Refusal::Host))
        };
        let parsed = |host: &HeaderValue| host.to_str().ok()?.parse::<Authority>().ok();
        let in_header = headers.get(header::HOST).map(parsed);
        // The URI of `POST http://host/judge` takes precedence over the header (RFC 9112, section 3.2.2).
        let named = uri.authority().cloned().map(Some).into_iter().chain(in_header);
        let named: Option<Vec<Authority>> = named.collect();
        let allowed = named.filter(|hosts| hosts.iter().all(|host| self.allows(host)));
        let Some(allowed) = allowed else {
            return refused("This host is not served here: --allowed-hosts names those that are.");
        };
        // HTTP/1.0 has no such header, and every current browser sends it.
        let Some(host) = allowed.first() else { return Ok(()) };
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) if self.is_ours(origin.to_str().unwrap_or_default(), host) => Ok(()),
            // Which of several origins asks is not known.
            (Some(_), _) => refused("A page of another site asks: --allowed-hosts names those that may."),
        }
    }

    /// Whether a page of `origin` may send requests to `host`.
    fn is_ours(&self, origin: &str, host: &Authority) -> bool {
        let origin = origin.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
        origin.is_some_and(|origin| origin == *host || self.names(origin.host()))
    }

    /// Whether requests may name this host. A name before the host, as in `user@host`, belongs into no request.
    fn allows(&self, host: &Authority) -> bool {
        !host.as_str().contains('@') && (self.names(host.host()) || is_harmless(host.host()))
    }

    fn names(&self, host: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(host))
    }
}

/// Whether no public name server can point `host` to this machine.
fn is_harmless(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    in_brackets.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        || host.parse::<IpAddr>().is_ok()
        || !host.contains('.')
        || PRIVATE.iter().any(|ending| host.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_anybody_can_register_is_not_ours() {
        let rule = HostRule { allowed: vec!["gavel.example.com".into()], always: true };
        let check = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            rule.check(&Uri::from_static("/judge"), &headers).is_ok()
        };
        for host in
            ["localhost:8080", "127.0.0.1:1", "[::1]:8080", "gavel", "gavel.ns.svc:80", "GAVEL.example.com"]
        {
            assert!(check(host, None), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8080",
            "localhost/v1/models?",
            "user@localhost",
            "",
        ] {
            assert!(!check(host, None), "{host}");
        }
        assert!(check("localhost:8080", Some("http://localhost:8080")));
        assert!(check("localhost:8080", Some("https://gavel.example.com")));
        for origin in ["http://evil.example", "http://localhost:9999", "null"] {
            assert!(!check("localhost:8080", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn the_host_of_the_uri_counts_too_and_one_origin_alone() {
        let rule = HostRule::default();
        let check = |uri: &'static str, host: Option<&'static str>, origins: &[&'static str]| {
            let mut headers = HeaderMap::new();
            headers.extend(host.map(|host| (header::HOST, HeaderValue::from_static(host))));
            for origin in origins {
                headers.append(header::ORIGIN, HeaderValue::from_static(origin));
            }
            rule.check(&Uri::from_static(uri), &headers).is_ok()
        };
        assert!(check("/judge", None, &[]) && check("http://localhost:80/judge", Some("gavel"), &[]));
        for uri in ["http://evil.example/judge", "http://user@localhost/judge"] {
            assert!(!check(uri, Some("localhost"), &[]) && !check(uri, None, &[]), "{uri}");
        }
        assert!(!check("http://localhost/judge", Some("evil.example"), &[]));
        let (ours, same) = (["http://gavel"], ["http://gavel", "http://gavel"]);
        assert!(check("/judge", Some("gavel"), &ours) && !check("/judge", Some("gavel"), &same));
        // The page is that of the host which is asked.
        assert!(!check("http://localhost/judge", Some("gavel"), &ours));
    }
}
