//! The part of HTTP/1.1 that the tests need, on plain sockets, so that tests decide when a connection ends.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// A response whose head has been read.
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    body: Box<dyn BufRead + Send>,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Reads the whole body.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn text(mut self) -> String {
        let mut text = String::new();
        self.body.read_to_string(&mut text).expect("the body is text and ends well");
        text
    }

    /// Reads the whole body, which need not be text.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn bytes(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.body.read_to_end(&mut bytes).expect("the body ends well");
        bytes
    }

    /// Reads the whole body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
    }

    /// Reads the body as that of `/metrics`; returns the figure of a metric with its labels.
    ///
    /// # Panics
    /// When there is none.
    pub fn figure(self, name: &str) -> f64 {
        let text = self.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Reads the body as server-sent events, one by one as they arrive. Dropping the iterator closes the
    /// connection.
    pub fn events(self) -> Events {
        assert_eq!(self.header("content-type"), Some("text/event-stream"));
        Events { lines: self.body.lines() }
    }
}

/// A server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub struct SentEvent {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its data.
    pub data: String,
}

impl SentEvent {
    /// The data as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error} in {:?}", self.data))
    }
}

/// The events of a response.
pub struct Events {
    lines: io::Lines<Box<dyn BufRead + Send>>,
}

impl Iterator for Events {
    type Item = SentEvent;

    fn next(&mut self) -> Option<SentEvent> {
        let mut event = SentEvent { name: String::new(), data: String::new() };
        loop {
            let line = self.lines.next()?.expect("the stream can be read");
            match line.split_once(':') {
                Some(("event", name)) => event.name = name.trim_start().to_owned(),
                Some(("data", data)) => event.data += data.trim_start(),
                Some(("", _comment)) => {}
                None if line.is_empty() && !event.data.is_empty() => return Some(event),
                None if line.is_empty() => {}
                _ => panic!("{line:?} is no line of an event"),
            }
        }
    }
}

/// Reads the head of a response from any stream.
///
/// # Panics
/// When the stream has no valid response.
pub fn read_from<S: Read + Send + 'static>(stream: S) -> Response {
    read(BufReader::new(stream))
}

/// Sends a request on a new connection and reads the head of the response.
///
/// # Panics
/// When the server cannot be reached, or sends no valid response.
pub fn send(address: &str, (method, path): (&str, &str), headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).expect("the server takes connections");
    // With this timeout a hanging server fails the test instead of blocking it.
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).expect("the head can be sent");
    stream.write_all(body).expect("the body can be sent");
    read(BufReader::new(stream))
}

/// Sends bytes as they are on a new connection, and reads the head of the response; `None` if there is none.
pub fn send_raw(address: &str, bytes: &[u8]) -> Option<Response> {
    let mut stream = TcpStream::connect(address).expect("the server takes connections");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    // A server that has read enough may close the connection before everything is sent.
    let _ = stream.write_all(bytes);
    let mut stream = BufReader::new(stream);
    let answered = stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
    answered.then(|| read(stream))
}

fn read<S: Read + Send + 'static>(mut stream: BufReader<S>) -> Response {
    let mut lines = (&mut stream).lines().map(|line| line.expect("the head can be read"));
    let first = lines.next().expect("there is a status line");
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{first:?} is no status line"));
    let headers: Vec<(String, String)> = lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a header has a colon");
            (name.to_owned(), value.trim().to_owned())
        })
        .collect();
    let chunked = headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked");
    let body: Box<dyn BufRead + Send> = if chunked {
        Box::new(BufReader::new(Chunks { stream, left: 0, ended: false }))
    } else {
        Box::new(stream)
    };
    Response { status, headers, body }
}

/// Decodes a chunked body.
struct Chunks<S> {
    stream: BufReader<S>,
    left: usize,
    ended: bool,
}

impl<S: Read> Read for Chunks<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            let mut size = String::new();
            self.stream.read_line(&mut size)?;
            let size = size.trim();
            self.left = usize::from_str_radix(size, 16).map_err(|_| {
                io::Error::new(io::ErrorKind::UnexpectedEof, format!("{size:?} is no size of a chunk"))
            })?;
            self.ended = self.left == 0;
        }
        let wanted = buffer.len().min(self.left);
        let count = self.stream.read(&mut buffer[..wanted])?;
        self.left -= count;
        if self.left == 0 && count > 0 {
            self.stream.read_line(&mut String::new())?;
        }
        Ok(count)
    }
}
