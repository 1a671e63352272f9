//! Checks the `Host` and `Origin` headers of servers that a browser can reach without a key.
//!
//! A malicious page can point its own host name at this machine (DNS rebinding) and then send any request. It
//! cannot do so under an IP address, a name without a dot, or a suffix that public name servers do not serve.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{HeaderMap, StatusCode, header, uri::Authority};

use crate::{error::ApiError, metrics::Refusal};

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
    /// Checks that the `Host` header names an allowed host, and that the `Origin` header, if present, names the
    /// same host or an allowed one. Requests without a `Host` header pass.
    ///
    /// # Errors
    /// 421 `host_not_allowed`.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let refused = |message: &str| {
            let error = ApiError::new(StatusCode::MISDIRECTED_REQUEST, "host_not_allowed", message);
            Err(error.refused(Refusal::Host))
        };
        // HTTP/1.0 has no such header, and every current browser sends it.
        let Some(host) = headers.get(header::HOST) else { return Ok(()) };
        let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        let Some(host) = host.filter(|host| self.allows(host.host())) else {
            return refused("This host is not served here: --allowed-hosts names those that are.");
        };
        match headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default()) {
            Some(origin) if !self.is_ours(origin, &host) => {
                refused("A page of another site asks: --allowed-hosts names those that may.")
            }
            _ => Ok(()),
        }
    }

    /// Whether a page of `origin` may send requests to `host`.
    fn is_ours(&self, origin: &str, host: &Authority) -> bool {
        let origin = origin.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
        origin.is_some_and(|origin| origin == *host || self.names(origin.host()))
    }

    fn allows(&self, host: &str) -> bool {
        self.names(host) || is_harmless(host)
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
            rule.check(&headers).is_ok()
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
}
