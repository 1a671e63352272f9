//! `gavel probe`: checks the health of a running server, for containers that have no other HTTP client.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, ensure};

use crate::options::ProbeOptions;

/// Maximum number of bytes that are read of the status line.
const LONGEST_LINE: u64 = 4096;

/// Succeeds if the server answers the path with 200.
pub(crate) fn probe(options: &ProbeOptions) -> anyhow::Result<()> {
    let ProbeOptions { host, port, path, timeout_s } = options;
    let timeout = Duration::try_from_secs_f64(*timeout_s).context("--timeout-s must be a length of time")?;
    let path = if path.starts_with('/') { path.clone() } else { format!("/{path}") };
    let mut addresses = (host.as_str(), *port).to_socket_addrs().context("the host is unknown")?;
    let address = reachable(addresses.next().context("the host has no address")?);
    let mut stream = TcpStream::connect_timeout(&address, timeout)
        .with_context(|| format!("no server listens on {address}"))?;
    stream.set_read_timeout(Some(timeout))?;
    // In one write: a port that closes at once, as one for TLS does, can then still be recognised by its answer.
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut status = Vec::new();
    let answered = stream
        .write_all(request.as_bytes())
        .and_then(|()| BufReader::new(stream).take(LONGEST_LINE).read_until(b'\n', &mut status));
    let failure = answered.err().map(|error| error.kind());
    let late = matches!(failure, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut));
    ensure!(!late, "no answer came in time");
    ensure!(
        failure.is_none() && status.starts_with(b"HTTP/"),
        "port {port} does not answer in plain HTTP, which is all that this asks in; it may speak TLS"
    );
    let status = String::from_utf8_lossy(&status);
    ensure!(status.split(' ').nth(1) == Some("200"), "{path} says {}", status.trim());
    Ok(())
}

/// The address to connect to: a server that listens on all addresses is reached by the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
