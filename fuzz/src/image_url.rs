//! URLs from which images are fetched: each one that is accepted is checked against the rules again, by a second
//! parser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gavel::fuzz_api;

use super::bytes::Bytes;

/// Hosts that an operator may have allowed.
const ALLOWED: [&[&str]; 4] = [
    &[],
    &["example.com"],
    &["*.example.org", "example.com"],
    &["127.0.0.1:8000", "[::1]:9000", "1.1.1.1", "store.example:81", "[2a00::1]"],
];

/// Prefixes, in bits, of IPv4 addresses that are not of the public Internet, by RFC 6890 and its updates, and Azure's
/// own.
const INSIDE_V4: [&str; 17] = [
    "00000000",                         // 0.0.0.0/8
    "00001010",                         // 10.0.0.0/8
    "0110010001",                       // 100.64.0.0/10
    "01111111",                         // 127.0.0.0/8
    "10101000001111111000000100010000", // 168.63.129.16
    "1010100111111110",                 // 169.254.0.0/16
    "101011000001",                     // 172.16.0.0/12
    "110000000000000000000000",         // 192.0.0.0/24
    "110000000000000000000010",         // 192.0.2.0/24
    "110000000101100001100011",         // 192.88.99.0/24
    "1100000010101000",                 // 192.168.0.0/16
    "110001100001001",                  // 198.18.0.0/15
    "110001100011001101100100",         // 198.51.100.0/24
    "110010110000000001110001",         // 203.0.113.0/24
    "1110",                             // 224.0.0.0/4
    "1111",                             // 240.0.0.0/4
    "11111111111111111111111111111111", // 255.255.255.255
];

/// Prefixes, in bits, of IPv6 addresses that are not of the public Internet, in 2000::/3, outside of which no address
/// is.
const INSIDE_V6: [&str; 4] = [
    "00100000000000010000000",          // 2001::/23
    "00100000000000010000110110111000", // 2001:db8::/32
    "0010000000000010",                 // 2002::/16
    "00111111111111110000",             // 3fff::/20
];

/// Panics when a URL that breaks a rule is accepted, or the server and this module disagree whether an address is
/// public.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    match bytes.below(6) {
        4 => {
            let mut octets = [0; 4];
            octets.fill_with(|| bytes.byte());
            let address = IpAddr::V4(Ipv4Addr::from(octets));
            assert_eq!(fuzz_api::is_public(address), public(address), "{address}");
        }
        5 => {
            let mut octets = [0; 16];
            octets.fill_with(|| bytes.byte());
            let address = IpAddr::V6(Ipv6Addr::from(octets));
            assert_eq!(fuzz_api::is_public(address), public(address), "{address}");
        }
        choice => {
            let hosts = ALLOWED[choice];
            let text = bytes.text();
            if let Some(url) = fuzz_api::fetched_from(&text, hosts) {
                check(&text, &url, hosts);
            }
        }
    }
}

fn bits(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:08b}")).collect()
}

fn public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let bits = bits(&address.octets());
            !INSIDE_V4.iter().any(|block| bits.starts_with(block))
        }
        IpAddr::V6(address) => {
            let bits = bits(&address.octets());
            // ISATAP: an IPv4 address follows 0000:5efe or 0200:5efe.
            let tunnel = ["00000000", "00000010"].map(|first| format!("{first}000000000101111011111110"));
            bits.starts_with("001")
                && !INSIDE_V6.iter().any(|block| bits.starts_with(block))
                && !tunnel.iter().any(|tunnel| bits[64..96] == **tunnel)
        }
    }
}

/// The scheme, the host and the port of a URL, as they are written.
fn authority(url: &str) -> (&str, &str, Option<&str>) {
    let (scheme, rest) = url.split_once("://").expect("a URL has a scheme");
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => {
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        _ => (authority, None),
    };
    (scheme, host, port)
}

fn check(text: &str, url: &str, hosts: &[&str]) {
    let told = || format!("{text:?} leads to {url:?}, allowed: {hosts:?}");
    assert!(text.len() <= 8192, "{}", told());
    for letter in text.chars().chain(url.chars()) {
        assert!(!letter.is_control() || !letter.is_ascii(), "{}", told());
        assert!(!letter.is_whitespace() && letter != '\\', "{}", told());
    }
    let (scheme, host, port) = authority(url);
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => panic!("{}", told()),
    };
    assert!(!host.contains('@') && !authority(text).1.contains('@'), "{}", told());
    assert!(
        !host.is_empty() && host.is_ascii() && !host.bytes().any(|byte| byte.is_ascii_uppercase()),
        "{}",
        told()
    );
    let port: u16 = port.map_or(usual, |port| port.parse().expect("a port is a number"));
    let address: Option<IpAddr> = match host.strip_prefix('[') {
        Some(inner) => Some(IpAddr::V6(inner.trim_end_matches(']').parse().expect("an address in brackets"))),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    // A host that looks like a number must be an address, since some resolver may take it for one.
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let digits = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal =
        last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let numeric = digits || hexadecimal;
    assert!(address.is_some() || !numeric, "{}", told());
    let allowed = |allowed: &&&str| {
        let (name, own_port) = match allowed.rfind(':') {
            Some(colon) if !allowed[colon..].contains(']') => {
                (&allowed[..colon], allowed[colon + 1..].parse().ok())
            }
            _ => (**allowed, None),
        };
        let named = match name.strip_prefix('*') {
            Some(ending) => address.is_none() && host.len() > ending.len() && host.ends_with(ending),
            None => name == host,
        };
        named && own_port.is_none_or(|own: u16| own == port)
    };
    let found: Vec<_> = hosts.iter().filter(allowed).collect();
    let with_port =
        found.iter().any(|found| found.rfind(':').is_some_and(|colon| !found[colon..].contains(']')));
    assert!(hosts.is_empty() || !found.is_empty(), "{}", told());
    assert!(with_port || port == usual, "{}", told());
    assert!(with_port || address.is_none_or(public), "{}", told());
    // The host that a person reads is the one that is fetched from, unless the URL encodes it.
    let (_, read, _) = authority(text);
    if read.is_ascii() && !read.contains('%') && address.is_none() {
        assert_eq!(read.to_ascii_lowercase(), host, "{}", told());
    }
    if let (Some(IpAddr::V4(address)), true) = (address, read.is_ascii() && !read.contains('%')) {
        assert_eq!(Some(address), number(read), "{}", told());
    }
}

/// An IPv4 address as browsers parse it: one to four numbers, decimal, octal or hexadecimal; the last one fills the
/// remaining bytes.
fn number(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = host.strip_suffix('.').unwrap_or(host).split('.').collect();
    let mut numbers = Vec::new();
    for part in &parts {
        let lower = part.to_ascii_lowercase();
        let number = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
            (Some(""), _) => 0,
            (Some(digits), _) => u64::from_str_radix(digits, 16).ok()?,
            (None, Some(digits)) if !digits.is_empty() => u64::from_str_radix(digits, 8).ok()?,
            _ => lower.parse().ok()?,
        };
        numbers.push(number);
    }
    let (last, firsts) = numbers.split_last()?;
    let mut sum = *last;
    if firsts.len() > 3 || *last >= 1 << (8 * (4 - firsts.len())) {
        return None;
    }
    for (place, first) in firsts.iter().enumerate() {
        if *first > 255 {
            return None;
        }
        sum += first << (8 * (3 - place));
    }
    Some(Ipv4Addr::from(sum as u32))
}
