//! Options of `gavel serve` for access control, TLS and connection limits.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Args;

use super::numbers::{MANY, MOST_KIB, seconds, some_seconds, whole};

/// The most header fields of a request: the HTTP library's table of them cannot hold 25,000.
const MOST_HEADERS: u64 = 1 << 14;

/// Access control.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessOptions {
    /// File with `[[keys]]`, in addition to those of the configuration file; `gavel key new` makes an entry. It is
    /// reloaded when it changes, and on SIGHUP.
    #[arg(long)]
    pub(crate) keys_file: Option<PathBuf>,
    /// Serve every client that reaches the port, from any machine, without keys.
    #[arg(long)]
    pub(crate) insecure_no_auth: bool,
    /// Host names under which clients reach the server, such as that of a proxy, in addition to addresses and names
    /// of the local network; `*` allows all.
    #[arg(long, value_delimiter = ',', value_parser = host_name)]
    pub(crate) allowed_hosts: Vec<String>,
    /// Address of the listener for administration: `/metrics`, `POST /reload`, `POST /drain`. A port alone means
    /// this machine only; an address that other machines can reach needs a key with `admin = true`.
    #[arg(long, value_parser = admin_address)]
    pub(crate) admin_address: Option<String>,
    /// Invalid keys that an address may send per minute before it has to wait. Valid keys are always accepted: many
    /// clients may share one address.
    #[arg(long, default_value_t = 600, value_parser = whole::<0, MANY, u64>)]
    pub(crate) wrong_keys_per_minute: u64,
    /// Serve `/metrics` on the main port too when there are keys, to keys with `admin = true`. Without keys it is
    /// always served there.
    #[arg(long)]
    pub(crate) metrics_on_main: bool,
}

/// Encryption of connections.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsOptions {
    /// Certificate chain of the server, in PEM. It is reloaded when it changes.
    #[arg(long)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM.
    #[arg(long)]
    pub(crate) tls_key: Option<PathBuf>,
    /// Certificate authorities for client certificates, in PEM, which every client then needs.
    #[arg(long)]
    pub(crate) tls_client_ca: Option<PathBuf>,
}

/// Limits of a connection.
#[derive(Debug, Args)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct ConnectionOptions {
    /// The most connections at once; further ones wait to be accepted.
    #[arg(long, default_value_t = 4096, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_connections: usize,
    /// The most connections from one address, or from one /64 network of IPv6 addresses; further ones are closed.
    #[arg(long, default_value_t = 1024, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_connections_per_ip: usize,
    /// How long the head of a request, and a TLS handshake, may take, in seconds.
    #[arg(long, default_value_t = 10.0, value_parser = some_seconds)]
    pub(crate) head_timeout_s: f64,
    /// How long an idle connection stays open between two requests, in seconds. A proxy in front should close its
    /// idle connections earlier.
    #[arg(long, default_value_t = 75.0, value_parser = seconds)]
    pub(crate) keep_alive_s: f64,
    /// How long a client may read nothing of its answer, or not respond to keepalive probes, in seconds; then it
    /// counts as gone, and its work is cancelled.
    #[arg(long, default_value_t = 30.0, value_parser = some_seconds)]
    pub(crate) peer_timeout_s: f64,
    /// The most header fields of a request.
    #[arg(long, default_value_t = 64, value_parser = whole::<1, MOST_HEADERS, usize>)]
    pub(crate) max_headers: usize,
    /// The longest head of a request, in kibibytes; at least 8.
    #[arg(long, default_value_t = 64, value_parser = whole::<8, MOST_KIB, usize>)]
    pub(crate) max_head_kib: usize,
    /// The longest URI, in kibibytes.
    #[arg(long, default_value_t = 8, value_parser = whole::<1, MOST_KIB, usize>)]
    pub(crate) max_uri_kib: usize,
    /// The longest pause in a body, in seconds.
    #[arg(long, default_value_t = 10.0, value_parser = some_seconds)]
    pub(crate) body_pause_s: f64,
    /// How long a body may take, in seconds.
    #[arg(long, default_value_t = 60.0, value_parser = some_seconds)]
    pub(crate) body_timeout_s: f64,
    /// The slowest rate of a body after its first five seconds, in kibibytes per second.
    #[arg(long, default_value_t = 64, value_parser = whole::<0, MOST_KIB, u64>)]
    pub(crate) body_min_kib_per_s: u64,
}

/// Parses an address to listen on: an address of a machine, or its name, without a port.
pub(super) fn listen_host(text: &str) -> Result<String, String> {
    // A link-local address has its interface after a percent sign.
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    let is_host = address.parse::<IpAddr>().is_ok()
        || url::Host::parse(text).is_ok_and(|host| !matches!(host, url::Host::Ipv6(_)));
    is_host
        .then(|| text.to_owned())
        .ok_or_else(|| "expected an address such as 127.0.0.1 or ::, or a host name, without port".into())
}

/// Parses the address of the administration listener: `host:port`, or a port alone.
fn admin_address(text: &str) -> Result<String, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    let is_address = port.parse::<u16>().is_ok()
        || text.parse::<SocketAddr>().is_ok()
        || text
            .rsplit_once(':')
            .is_some_and(|(host, port)| listen_host(host).is_ok() && port.parse::<u16>().is_ok());
    is_address
        .then(|| text.to_owned())
        .ok_or_else(|| "expected a port, or an address with a port such as 127.0.0.1:9091".into())
}

/// Parses a host name as in the `Host` header, without a port, or `*` for all.
fn host_name(text: &str) -> Result<String, String> {
    let is_name = text == "*" || (!text.contains('*') && url::Host::parse(text).is_ok());
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| "expected a host such as gavel.example.com, without scheme, port and path".into())
}
