//! Bytes on a connection, through the HTTP library and all routes: for any input the output is HTTP, no handler
//! panics, and the connection ends when its client has left.

use super::recital::quiet;

/// Panics when a response is not valid HTTP or has the status 500, or the connection outlives its client.
pub fn run(data: &[u8]) {
    // HTTP's own syntax does not have this byte, so that it can mark the ends of pieces.
    let pieces: Vec<&[u8]> = data.split(|byte| *byte == 0xff).collect();
    let conversation = quiet().converse(&pieces);
    assert!(conversation.ended, "the connection does not end after {:?}", String::from_utf8_lossy(data));
    check(&conversation.written, &conversation.methods);
}

/// Parses responses: at most one for each of `methods` and one more. The last one may be cut off where the client left.
fn check(written: &[u8], methods: &[String]) {
    let (mut rest, mut answered) = (written, 0);
    while !rest.is_empty() {
        let told = || String::from_utf8_lossy(written).into_owned();
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(rest) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return,
            Err(error) => panic!("{error} in {}", told()),
        };
        let status = head.code.expect("a whole head has a status");
        assert_ne!(status, 500, "{}", told());
        rest = &rest[length..];
        if status < 200 {
            continue;
        }
        let method = methods.get(answered).map(String::as_str);
        answered += 1;
        assert!(answered <= methods.len() + 1, "more answers than requests in {}", told());
        let field = |name: &str| {
            head.headers
                .iter()
                .filter(|header| header.name.eq_ignore_ascii_case(name))
                .map(|header| header.value)
                .collect::<Vec<_>>()
        };
        let (lengths, codings) = (field("content-length"), field("transfer-encoding"));
        assert!(lengths.len() + codings.len() <= 1, "{}", told());
        if method == Some("HEAD") || status == 204 || status == 304 {
            continue;
        }
        rest = match (lengths.first(), codings.first()) {
            (Some(length), _) => {
                let length = std::str::from_utf8(length).ok().and_then(|length| length.parse::<usize>().ok());
                let length = length.unwrap_or_else(|| panic!("a length that is none in {}", told()));
                &rest[length.min(rest.len())..]
            }
            (None, Some(coding)) => {
                assert_eq!(*coding, b"chunked", "{}", told());
                chunks(rest).unwrap_or_else(|| panic!("chunks that are none in {}", told()))
            }
            (None, None) => &[],
        };
    }
}

/// What follows a chunked body; empty if the chunks are cut off, `None` if they are not valid chunks.
fn chunks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Some(&[]) };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        rest = &rest[end + 2..];
        if rest.len() < size + 2 {
            return Some(&[]);
        }
        if rest[size..size + 2] != *b"\r\n" {
            return None;
        }
        rest = &rest[size + 2..];
        if size == 0 {
            return Some(rest);
        }
    }
}
