//! Requests on plain sockets, right or wrong to the last byte, and what comes back.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long an answer may take before it counts as none: longer than any bound of the server's.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, and the key that is shown to it.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) host: String,
    pub(crate) key: Option<String>,
}

impl Door {
    /// A good request, with the key.
    pub(crate) fn request(&self, (method, path): (&str, &str), body: Vec<u8>) -> Request {
        let mut headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        if let Some(key) = &self.key {
            headers.push(("authorization".to_owned(), format!("Bearer {key}").into_bytes()));
        }
        Request::Composed { method: method.to_owned(), path: path.to_owned(), headers, body }
    }
}

/// What is done when everything was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The connection stays open.
    Wait,
    /// The server is told that nothing more comes.
    End,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// These bytes, in which `{host}` stands for the server.
    Raw(Vec<u8>, Then),
    /// A request with its length.
    Composed { method: String, path: String, headers: Vec<(String, Vec<u8>)>, body: Vec<u8> },
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    /// 0 when the connection was closed without an answer.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// From the last byte sent to the last one that came.
    pub(crate) time: Duration,
}

impl Reply {
    /// The value of a header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Sends a request on a connection of its own, and reads so many answers.
///
/// # Errors
/// When there is no connection, or no answer in time.
pub(crate) fn exchange(host: &str, request: &Request, replies: usize) -> io::Result<Vec<Reply>> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let bytes = match request {
        Request::Raw(bytes, _) => replaced(bytes, b"{host}", host.as_bytes()),
        Request::Composed { method, path, headers, body } => {
            let mut bytes =
                format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n").into_bytes();
            for (name, value) in headers {
                bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
            bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
            bytes.extend(body);
            bytes
        }
    };
    // A server that refuses early closes while we still write; its answer can be there all the same.
    let sent = stream.write_all(&bytes);
    if matches!(request, Request::Raw(_, Then::End)) && sent.is_ok() {
        let _ = stream.shutdown(Shutdown::Write); // it may have been closed from the other end already
    }
    let start = Instant::now();
    let mut reader = Incoming { stream, kept: Vec::new() };
    let mut all = Vec::new();
    for _ in 0..replies {
        let mut reply = reader.reply()?;
        reply.time = start.elapsed();
        let ended = reply.status == 0;
        all.push(reply);
        if ended {
            break;
        }
    }
    Ok(all)
}

/// Asks with a GET.
pub(crate) fn ask(door: &Door, path: &str) -> Result<Reply, String> {
    let replies =
        exchange(&door.host, &door.request(("GET", path), vec![]), 1).map_err(|error| error.to_string())?;
    replies.into_iter().next().ok_or_else(|| "no answer".to_owned())
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut new = Vec::with_capacity(bytes.len());
    let mut left = bytes;
    // A placeholder stands near the front, so that megabytes behind it are not looked through.
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

/// What comes on a connection.
struct Incoming {
    stream: TcpStream,
    /// Bytes that were read and not yet used.
    kept: Vec<u8>,
}

impl Incoming {
    fn reply(&mut self) -> io::Result<Reply> {
        let mut reply = Reply::default();
        loop {
            let Some(head) = self.until(b"\r\n\r\n")? else { return Ok(reply) };
            let head = String::from_utf8_lossy(&head).into_owned();
            let mut lines = head.split("\r\n");
            let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
            reply.status = status.unwrap_or_default();
            let fields = lines.filter_map(|line| line.split_once(':'));
            reply.headers = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
            if reply.status != 100 {
                break;
            }
        }
        let length = reply.header("content-length").and_then(|length| length.parse().ok());
        let chunked = reply.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
        reply.body = match (length, chunked) {
            (Some(length), _) => self.exactly(length)?,
            (None, true) => self.chunks()?,
            (None, false) => self.rest()?,
        };
        Ok(reply)
    }

    /// More bytes; none at the end. A connection that is reset has ended.
    fn more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 1 << 16];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.kept.extend(&buffer[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The bytes before a mark, which is taken too; nothing when it does not come.
    fn until(&mut self, mark: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(place) = self.kept.windows(mark.len()).position(|window| window == mark) {
                let rest = self.kept.split_off(place + mark.len());
                let mut found = std::mem::replace(&mut self.kept, rest);
                found.truncate(place);
                return Ok(Some(found));
            }
            if self.more()? == 0 {
                return Ok(None);
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.kept.len() < length && self.more()? > 0 {}
        let rest = self.kept.split_off(length.min(self.kept.len()));
        Ok(std::mem::replace(&mut self.kept, rest))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(size) = self.until(b"\r\n")? {
            let size = usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16).unwrap_or(0);
            body.extend(self.exactly(size)?);
            self.until(b"\r\n")?;
            if size == 0 {
                break;
            }
        }
        Ok(body)
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? > 0 {}
        Ok(std::mem::take(&mut self.kept))
    }
}
