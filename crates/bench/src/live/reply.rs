//! Responses of HTTP/1.1, taken from the bytes of a connection as they arrive.

use std::time::Duration;

use httparse::{EMPTY_HEADER, Response, Status};
use serde_json::Value;

/// The most header fields of a response.
const MAX_FIELDS: usize = 64;

/// An answer of the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    /// 0 when the connection was closed without an answer.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The time from the last byte sent to the last one received.
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

/// The status code in the beginning of a response, which may be cut off behind it.
pub(crate) fn status(beginning: &[u8]) -> Option<u16> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut response = Response::new(&mut fields);
    // Whatever follows the status, it is known as soon as it was read.
    let _ = response.parse(beginning);
    response.code
}

/// Bytes that were received on a connection and belong to responses that were not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Received(Vec<u8>);

impl Received {
    /// Adds bytes that have arrived.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// Takes the next response, if its head tells its length and all of it is here.
    pub(crate) fn complete(&mut self) -> Option<Reply> {
        let (head, start) = self.head()?;
        let body = Body::read(&head, &self.0[start..]);
        if !body.is_complete {
            return None;
        }
        self.0 = self.0.split_off(start + body.bytes);
        Some(Reply { body: body.content, ..head })
    }

    /// Takes what is here of a response after the connection has ended: one that ends with the connection, or that was
    /// cut off. Its status is 0 if there is no head.
    pub(crate) fn rest(&mut self) -> Reply {
        let reply = self.head().map(|(head, start)| {
            let body = Body::read(&head, &self.0[start..]);
            Reply { body: body.content, ..head }
        });
        self.0.clear();
        reply.unwrap_or_default()
    }

    /// The head of the next response, and where its body begins. Interim responses (`100 Continue`) are dropped.
    fn head(&mut self) -> Option<(Reply, usize)> {
        loop {
            let mut fields = [EMPTY_HEADER; MAX_FIELDS];
            let mut response = Response::new(&mut fields);
            let Ok(Status::Complete(length)) = response.parse(&self.0) else { return None };
            let status = response.code?;
            if status != 100 {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let fields = response.headers.iter().map(|field| (field.name.to_owned(), text(field.value)));
                return Some((Reply { status, headers: fields.collect(), ..Reply::default() }, length));
            }
            self.0 = self.0.split_off(length);
        }
    }
}

/// The body of a response, as far as it is here.
struct Body {
    content: Vec<u8>,
    /// Bytes that it takes on the connection.
    bytes: usize,
    is_complete: bool,
}

impl Body {
    /// Reads the body that follows a head.
    fn read(head: &Reply, bytes: &[u8]) -> Self {
        let length = head.header("content-length").and_then(|length| length.parse::<usize>().ok());
        let is_chunked = head.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
        match length {
            Some(length) => {
                let content = bytes[..length.min(bytes.len())].to_vec();
                Self { bytes: content.len(), is_complete: bytes.len() >= length, content }
            }
            None if is_chunked => Self::of_chunks(bytes),
            // It ends with the connection.
            None => Self { content: bytes.to_vec(), bytes: bytes.len(), is_complete: false },
        }
    }

    fn of_chunks(bytes: &[u8]) -> Self {
        const LINE_END: &[u8] = b"\r\n";
        let mut content = Vec::new();
        let mut read = 0;
        while let Ok(Status::Complete((start, size))) = httparse::parse_chunk_size(&bytes[read..]) {
            let rest = &bytes[read + start..];
            let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
            content.extend(&rest[..size]);
            if !rest[size..].starts_with(LINE_END) {
                break;
            }
            read += start + size + LINE_END.len();
            // The last chunk is empty. No server here sends fields behind it.
            if size == 0 {
                return Self { content, bytes: read, is_complete: true };
            }
        }
        Self { content, bytes: bytes.len(), is_complete: false }
    }
}

#[cfg(test)]
mod tests {
    use super::{Received, Reply, status};

    /// Takes a response from bytes that arrive one by one, and what is left after it.
    fn one_by_one(bytes: &[u8]) -> (Option<Reply>, Reply) {
        let mut received = Received::default();
        let mut taken = None;
        for byte in bytes {
            received.add(&[*byte]);
            taken = taken.or_else(|| received.complete());
        }
        (taken, received.rest())
    }

    #[test]
    fn a_response_is_taken_once_all_of_it_is_here() {
        let with_length = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A:  b \r\n\r\nok";
        let without = b"HTTP/1.1 404 Not Found\r\n\r\nno";
        let (reply, next) = one_by_one(&[&with_length[..], without].concat());
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.body.as_slice(), reply.header("x-a")), (200, &b"ok"[..], Some("b")));
        assert_eq!((next.status, next.body.as_slice()), (404, &b"no"[..]));
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunks = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        let (reply, next) = one_by_one(&[&interim[..], chunks].concat());
        assert_eq!(reply.map(|reply| (reply.status, reply.body)), Some((200, b"abcde".to_vec())));
        assert_eq!(next.status, 0);
    }

    #[test]
    fn what_is_cut_off_is_not_complete_and_what_is_no_response_has_no_status() {
        for (cut, body) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc"[..], &b"abc"[..]),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nd", b"abcd"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n?", b"abc"),
        ] {
            let (reply, rest) = one_by_one(cut);
            assert!(reply.is_none());
            assert_eq!((rest.status, rest.body.as_slice()), (200, body));
        }
        assert_eq!(one_by_one(b"\x15\x03\x01\r\n\r\n").1.status, 0);
        assert_eq!(one_by_one(b"HTTP/1.1 200 OK\r\ncontent-").1.status, 0);
    }

    #[test]
    fn the_status_is_known_before_the_head_has_ended() {
        assert_eq!(status(b"HTTP/1.1 408 Request Timeout\r\nconnec"), Some(408));
        assert_eq!(status(b"HTTP/1.1 4"), None);
        assert_eq!(status(b""), None);
        assert_eq!(status(b"SSH-2.0-x"), None);
    }
}
