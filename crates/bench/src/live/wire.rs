//! Requests on plain sockets, valid or invalid down to the last byte, and their responses.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use serde::Deserialize;
use socket2::SockRef;

use super::reply::{Received, Reply};

/// The timeout of reads and writes: longer than any of the server's own timeouts.
const IO_TIMEOUT: Duration = Duration::from_secs(60);

/// A server's address, and the key for it.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) host: String,
    pub(crate) key: Option<String>,
}

impl Access {
    /// A valid request with the key.
    pub(crate) fn request(&self, method: &str, path: &str, body: Vec<u8>) -> Request {
        let mut headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        if let Some(key) = &self.key {
            headers.push(("authorization".to_owned(), format!("Bearer {key}").into_bytes()));
        }
        Request::Composed { method: method.to_owned(), path: path.to_owned(), headers, body }
    }
}

/// What happens after everything was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Then {
    /// The connection stays open for the answers.
    #[default]
    Wait,
    /// The sending direction is closed.
    End,
    /// The connection is reset without waiting for an answer.
    Reset,
    /// The connection is reset when an answer begins.
    ResetInAnswer,
}

/// How slowly a body is sent.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WritePace {
    /// Bytes per write.
    piece: usize,
    /// Milliseconds after each write.
    pause_ms: u64,
}

/// How a request is sent, and which answers are awaited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// The number of answers expected on the connection.
    pub(crate) replies: usize,
    pub(crate) then: Then,
    /// The whole request is sent at once if `None`.
    pub(crate) pace: Option<WritePace>,
}

impl Default for Manner {
    fn default() -> Self {
        Self { replies: 1, then: Then::Wait, pace: None }
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// These bytes as they are, except that `{host}` is replaced by the server's address.
    Raw(Vec<u8>),
    /// A request whose `content-length` is added.
    Composed { method: String, path: String, headers: Vec<(String, Vec<u8>)>, body: Vec<u8> },
    /// A line of a batch, for this route; it cannot be sent on a connection.
    Line { path: &'static str, body: Vec<u8> },
}

/// Sends a request on a new connection, and reads the answers.
///
/// # Errors
/// When the connection fails or times out, or the request is a [`Request::Line`].
pub(crate) fn exchange(host: &str, request: &Request, manner: Manner) -> io::Result<Vec<Reply>> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    stream.set_write_timeout(Some(IO_TIMEOUT))?;
    let (head, body) = match request {
        Request::Raw(bytes) => (Vec::new(), replaced(bytes, b"{host}", host.as_bytes())),
        Request::Composed { method, path, headers, body } => {
            let mut head =
                format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n").into_bytes();
            for (name, value) in headers {
                head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
            head.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
            (head, body.clone())
        }
        Request::Line { .. } => return Err(io::ErrorKind::Unsupported.into()),
    };
    // A server that refuses early closes while we still write; its answer may be available nevertheless.
    let sent = match manner.pace {
        None => stream.write_all(&[head, body].concat()),
        Some(pace) => stream.write_all(&head).and_then(|()| send_slowly(&mut stream, &body, pace)),
    };
    match manner.then {
        Then::Wait => {}
        Then::End if sent.is_err() => {}
        Then::End => drop(stream.shutdown(Shutdown::Write)), // the server may have closed it already
        Then::Reset | Then::ResetInAnswer => {
            if manner.then == Then::ResetInAnswer {
                let _beginning = stream.read(&mut [0; 16])?;
            }
            // With a linger time of zero, closing sends a reset.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            return Ok(vec![Reply::default()]);
        }
    }
    let start = Instant::now();
    let mut received = Received::default();
    let mut all = Vec::new();
    for _ in 0..manner.replies {
        let mut reply = read_reply(&mut stream, &mut received)?;
        reply.time = start.elapsed();
        let ended = reply.status == 0;
        all.push(reply);
        if ended {
            break;
        }
    }
    Ok(all)
}

/// Sends a GET request.
pub(crate) fn ask(access: &Access, path: &str) -> Result<Reply, String> {
    let replies = exchange(&access.host, &access.request("GET", path, vec![]), Manner::default())
        .map_err(|error| error.to_string())?;
    replies.into_iter().next().ok_or_else(|| "no answer".to_owned())
}

/// Sends the bytes in pieces with pauses between them, until the server answers or closes.
fn send_slowly(stream: &mut TcpStream, bytes: &[u8], pace: WritePace) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(pace.pause_ms.max(1))))?;
    for piece in bytes.chunks(pace.piece.max(1)) {
        stream.write_all(piece)?;
        // An answer that arrives in the pause is not consumed here.
        if stream.peek(&mut [0]).is_ok() {
            break;
        }
    }
    stream.set_read_timeout(Some(IO_TIMEOUT))
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut new = Vec::with_capacity(bytes.len());
    let mut left = bytes;
    // Placeholders are near the front; only 4096 bytes are searched at a time, so that megabytes behind are not
    // scanned.
    let near = left.len().min(4096);
    while let Some(place) = left[..near.min(left.len())].windows(from.len()).position(|window| window == from)
    {
        new.extend(&left[..place]);
        new.extend(to);
        left = &left[place + from.len()..];
    }
    new.extend(left);
    new
}

/// Reads the next response: a complete one, or what there is of it when the connection ends or is reset.
fn read_reply(stream: &mut TcpStream, received: &mut Received) -> io::Result<Reply> {
    let mut buffer = [0; 1 << 16];
    loop {
        if let Some(reply) = received.complete() {
            return Ok(reply);
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(received.rest()),
            Ok(count) => received.add(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(received.rest()),
            Err(error) => return Err(error),
        }
    }
}
