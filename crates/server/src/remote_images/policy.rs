//! Decides which URLs may be fetched, on the parsed URL and before its name is resolved.

use std::net::IpAddr;

use url::{Host, Url};

use super::{
    AllowedHost, NotFetched,
    addresses::{is_own, is_public},
};

/// The longest URL in bytes: signed URLs of object stores are far shorter.
const MAX_URL_BYTES: usize = 8192;

/// The hosts that images may be fetched from.
#[derive(Debug, Clone)]
pub(crate) enum Policy {
    /// Only these hosts.
    Hosts(Vec<AllowedHost>),
    /// Every host on the public Internet, and these.
    AnyPublic(Vec<AllowedHost>),
}

/// A URL that may be fetched. If its host is a name, its addresses are yet to be checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ImageUrl(Url);

impl ImageUrl {
    /// The host to connect to.
    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    pub(super) fn into_url(self) -> Url {
        self.0
    }

    /// The URL to request.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Policy {
    /// Parses the URL in `text`, if it may be fetched.
    ///
    /// # Errors
    /// [`NotFetched`] for everything but `http` and `https` URLs of an allowed host, at the default port of the
    /// scheme or at the port that was allowed with the host.
    pub(crate) fn check(&self, text: &str) -> Result<ImageUrl, NotFetched> {
        let written_oddly =
            |letter: char| letter.is_ascii_control() || letter.is_whitespace() || letter == '\\';
        if text.len() > MAX_URL_BYTES || text.contains(written_oddly) {
            return Err(NotFetched); // parsers disagree on such URLs
        }
        let (scheme, rest) = text.split_once("://").ok_or(NotFetched)?;
        let url = Url::parse(text).map_err(|_| NotFetched)?;
        // `http:a://b` has another host than it appears to have.
        if !scheme.eq_ignore_ascii_case(url.scheme()) {
            return Err(NotFetched);
        }
        let host = url.host().ok_or(NotFetched)?;
        let port = url.port_or_known_default().ok_or(NotFetched)?;
        let usual = matches!((url.scheme(), port), ("http", 80) | ("https", 443));
        let with_login =
            !url.username().is_empty() || url.password().is_some() || authority(rest).contains('@');
        if !["http", "https"].contains(&url.scheme()) || with_login || rest.starts_with('/') {
            return Err(NotFetched);
        }
        let (hosts, any_public) = match self {
            Self::Hosts(hosts) => (hosts, false),
            Self::AnyPublic(hosts) => (hosts, true),
        };
        let named: Vec<&AllowedHost> = hosts.iter().filter(|allowed| allowed.covers(&host, port)).collect();
        let with_port = named.iter().any(|allowed| allowed.names_port());
        let address = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        // An address that was allowed with its port is intended, even if it is not public.
        let reachable = address.is_none_or(|address| with_port || (is_public(address) && !is_own(address)));
        let allowed = with_port || (usual && (any_public || !named.is_empty()));
        if allowed && reachable { Ok(ImageUrl(url)) } else { Err(NotFetched) }
    }
}

/// The part of a URL before its path.
fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(hosts: &[&str]) -> Vec<AllowedHost> {
        hosts.iter().map(|host| host.parse().unwrap()).collect()
    }

    #[test]
    fn what_names_no_allowed_host_plainly_is_refused() {
        let long = format!("http://example.com/{}", "x".repeat(64 << 10));
        let refused = [
            "file:///etc/passwd",
            "file://localhost/etc/passwd",
            "FILE:///etc/passwd",
            "ftp://example.com/a",
            "gopher://example.com/",
            "dict://example.com/",
            "ldap://example.com/",
            "jar:http://example.com/!/",
            "ws://example.com/",
            "unix:/run/a",
            "blob:http://example.com/a",
            "javascript:alert(1)",
            "about:blank",
            "//example.com/a",
            "/a",
            "",
            "   ",
            &long,
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0/",
            "http://0.0.0.0/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[0:0:0:0:0:ffff:a9fe:a9fe]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:7f00:1::]/",
            "http://[2001::1]/",
            "http://[::127.0.0.1]/",
            "http://169.254.169.254/latest/",
            "http://[fd00:ec2::254]/",
            "http://100.100.100.200/",
            "http://192.0.0.192/",
            "http://168.63.129.16/",
            "http://10.0.0.1/",
            "http://user@example.com/",
            "http://user:word@example.com/",
            "http://@example.com/",
            "http://example.com@evil.org/",
            "http://evil.org\\@example.com/",
            "http://example.com:80@evil.org/",
            "http://exa\tmple.com/",
            "http://example.com/\r\nHost: x",
            " http://example.com/",
            "http:/example.com/",
            "http:example.com/",
            "http:example.com/://b/",
            "http:p://example.com/",
            "http:\\\\example.com/",
            "http:///example.com/",
            "http://example.com:0/",
            "http://example.com:1/",
            "http://example.com:22/",
            "http://example.com:6379/",
            "http://example.com:8080/",
            "http://example.com:443/",
            "https://example.com:80/",
            "http://example.com:65536/",
            "http://[fe80::1%25eth0]/",
        ];
        for policy in [
            Policy::Hosts(Vec::new()),
            Policy::Hosts(hosts(&["example.com"])),
            Policy::AnyPublic(hosts(&["example.com"])),
        ] {
            for text in refused {
                assert_eq!(policy.check(text), Err(NotFetched), "{text} with {policy:?}");
            }
        }
        let named = Policy::Hosts(hosts(&["example.com", "*.example.org"]));
        for text in [
            "http://evil#@example.com/",
            "http://example%2ecom%2eevil/",
            "http://example.com./",
            "http://1.1.1.1/",
        ] {
            assert_eq!(named.check(text), Err(NotFetched), "{text}");
        }
    }

    #[test]
    fn what_names_an_allowed_host_is_taken() {
        let named =
            Policy::Hosts(hosts(&["example.com", "*.example.org", "127.0.0.1:8000", "store.example:9000"]));
        for text in [
            "http://example.com/a.png?signature=1#x",
            "https://EXAMPLE.com",
            "https://example.com:443/",
            "http://example.com:/",
            "https://a.b.example.org/%41.png",
            "http://127.0.0.1:8000/a",
            "http://127.1:8000/a",
            "https://store.example:9000/",
        ] {
            assert!(named.check(text).is_ok(), "{text}");
        }
        for text in
            ["http://127.0.0.1/", "http://127.0.0.1:8001/", "http://store.example/", "http://evil.com/"]
        {
            assert_eq!(named.check(text), Err(NotFetched), "{text}");
        }
        let any = Policy::AnyPublic(Vec::new());
        assert!(any.check("https://evil.com/").is_ok() && any.check("http://1.1.1.1/").is_ok());
        assert_eq!(any.check("http://127.0.0.1:8000/"), Err(NotFetched));
    }
}
