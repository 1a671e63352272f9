//! `gavel probe`: checks the health of a running server, for containers that have no other HTTP client.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tokio_rustls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{connections::tls_client_config, options::ProbeOptions};

/// Maximum number of bytes that are read of the status line.
const LONGEST_LINE: u64 = 4096;

/// Succeeds if the server answers the path with 200.
pub(crate) fn probe(options: &ProbeOptions) -> anyhow::Result<()> {
    let ProbeOptions { host, port, path, timeout_s, tls_ca, tls_name } = options;
    let timeout = Duration::try_from_secs_f64(*timeout_s).context("--timeout-s must be a length of time")?;
    let path = if path.starts_with('/') { path.clone() } else { format!("/{path}") };
    let mut addresses = (host.as_str(), *port).to_socket_addrs().context("the host is unknown")?;
    let address = reachable(addresses.next().context("the host has no address")?);
    let stream = TcpStream::connect_timeout(&address, timeout)
        .with_context(|| format!("no server listens on {address}"))?;
    stream.set_read_timeout(Some(timeout))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let answered = match tls_ca {
        None => ask(stream, &request),
        Some(authorities) => {
            let name = tls_name.as_ref().unwrap_or(host);
            ask(encrypted(stream, authorities, name)?, &request)
        }
    };
    let is_late = |error: &io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    ensure!(!answered.as_ref().is_err_and(is_late), "no answer came in time");
    let status = match answered {
        Ok(status) if status.starts_with(b"HTTP/") => status,
        Err(error) if tls_ca.is_some() => {
            return Err(error).with_context(|| format!("port {port} does not answer in TLS"));
        }
        Ok(_) | Err(_) => {
            bail!("port {port} does not answer in HTTP; it may speak TLS, which needs --tls-ca")
        }
    };
    let status = String::from_utf8_lossy(&status);
    ensure!(status.split(' ').nth(1) == Some("200"), "{path} says {}", status.trim());
    Ok(())
}

/// Sends a request; returns the first line of the answer.
fn ask(mut stream: impl Read + Write, request: &str) -> io::Result<Vec<u8>> {
    // In one write: a port that closes at once, as one for TLS does, can then still be recognised by its answer.
    stream.write_all(request.as_bytes())?;
    let mut line = Vec::new();
    BufReader::new(stream).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// The connection in TLS, to a server with a certificate for `name` that one of the `authorities` has signed. The
/// handshake is part of the first write.
fn encrypted(
    stream: TcpStream,
    authorities: &Path,
    name: &str,
) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).context("no certificate can have this name")?;
    let connection = ClientConnection::new(Arc::new(tls_client_config(authorities)?), name)?;
    Ok(StreamOwned::new(connection, stream))
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
