//! The hosts that an operator allows.

use std::{fmt, str::FromStr};

use url::Host;

/// A host, or all subdomains of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedHost {
    name: Name,
    /// The only port allowed, which may be any; `None` if the operator gave no port.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// This host only.
    Exact(Host),
    /// Every subdomain of this name.
    Below(String),
}

/// The error for a text that is not an allowed host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoHost;

impl fmt::Display for NoHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("expected a host such as images.example, *.example or 127.0.0.1:8000")
    }
}

impl std::error::Error for NoHost {}

impl FromStr for AllowedHost {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        let (host, port) = match text.rsplit_once(':') {
            // The colons of an IPv6 address are inside brackets.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().map_err(|_| NoHost)?)),
            _ => (text, None),
        };
        let name = match host.strip_prefix("*.") {
            None => Name::Exact(Host::parse(host).map_err(|_| NoHost)?),
            Some(suffix) => match Host::parse(suffix) {
                Ok(Host::Domain(suffix)) if !suffix.is_empty() => Name::Below(suffix),
                _ => return Err(NoHost),
            },
        };
        match (&name, port) {
            (_, Some(0)) => Err(NoHost),
            // A star is only valid as the first label.
            (Name::Exact(Host::Domain(name)) | Name::Below(name), _)
                if name.is_empty() || name.contains('*') =>
            {
                Err(NoHost)
            }
            _ => Ok(Self { name, port }),
        }
    }
}

impl AllowedHost {
    /// Whether it covers `host` at `port`.
    pub(super) fn covers(&self, host: &Host<&str>, port: u16) -> bool {
        let named = match (&self.name, host) {
            (Name::Exact(Host::Domain(own)), Host::Domain(domain)) => own == domain,
            (Name::Exact(Host::Ipv4(own)), Host::Ipv4(address)) => own == address,
            (Name::Exact(Host::Ipv6(own)), Host::Ipv6(address)) => own == address,
            (Name::Below(suffix), Host::Domain(domain)) => domain
                .strip_suffix(suffix.as_str())
                .is_some_and(|before| before.len() > 1 && before.ends_with('.')),
            (Name::Exact(_) | Name::Below(_), Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_)) => false,
        };
        named && self.port.is_none_or(|own| own == port)
    }

    /// Whether the operator gave a port.
    pub(super) fn names_port(&self) -> bool {
        self.port.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(allowed: &str, host: &str, port: u16) -> bool {
        let host = Host::parse(host).unwrap();
        let host = match &host {
            Host::Domain(domain) => Host::Domain(domain.as_str()),
            Host::Ipv4(address) => Host::Ipv4(*address),
            Host::Ipv6(address) => Host::Ipv6(*address),
        };
        allowed.parse::<AllowedHost>().unwrap().covers(&host, port)
    }

    #[test]
    fn a_host_is_itself_and_nothing_else() {
        for host in ["example.com", "EXAMPLE.com", "ｅｘａｍｐｌｅ.com"] {
            assert!(covers("example.com", host, 443), "{host}");
        }
        for host in ["notexample.com", "example.com.evil.org", "example.com.", "sub.example.com"] {
            assert!(!covers("example.com", host, 443), "{host}");
        }
        assert!(covers("*.example.com", "a.b.example.com", 80));
        for host in ["example.com", "notexample.com", "a.example.com.", ".example.com"] {
            assert!(!covers("*.example.com", host, 80), "{host}");
        }
        assert!(covers("127.0.0.1:8000", "127.1", 8000) && !covers("127.0.0.1:8000", "127.0.0.1", 8001));
        assert!(covers("[::1]:8000", "[::1]", 8000) && covers("[2a00::1]", "[2a00::1]", 443));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in
            ["", "*", "*.", "*.*.a", "a.*", "a b", "http://a", "a:0", "a:65536", "a/b", "*.1.2.3.4", "a@b"]
        {
            assert_eq!(text.parse::<AllowedHost>(), Err(NoHost), "{text}");
        }
    }
}
