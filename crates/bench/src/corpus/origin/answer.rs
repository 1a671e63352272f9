//! The answers of the image origin by path.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use image::{DynamicImage, ImageFormat};

/// The pause between two bytes of a slow answer.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers a request for `target`, such as `/redirect/302?http://host/`: the first part of the path selects the
/// answer, the second part and the query are its arguments.
pub(super) fn answer(mut stream: TcpStream, target: &str) -> io::Result<()> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut parts = path.split('/').skip(1);
    let (what, with) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let image = image();
    match what {
        "endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            let zeros = vec![0; 1 << 20];
            loop {
                stream.write_all(&zeros)?;
            }
        }
        "slow" => drip(&mut stream, &declared(image.len(), &image)),
        "slow-body" => {
            stream.write_all(&declared(image.len(), b""))?;
            drip(&mut stream, &image)
        }
        // Until the client gives up.
        "silent" => stream.read(&mut [0]).map(drop),
        _ if what.starts_with("redirect") => stream.write_all(&redirect(what, with, query)),
        _ => stream.write_all(&at_once(what, with, query, &image)),
    }
}

/// An answer that is sent at once, by its name.
fn at_once(what: &str, with: &str, query: &str, image: &[u8]) -> Vec<u8> {
    let whole = |headers: &str, body: &[u8]| response("200 OK", headers, body);
    match what {
        "picture" | "later" => whole("", image),
        "type" => whole(&format!("content-type: {}\r\n", query.replace('+', "/")), image),
        "vector" => whole("content-type: image/svg+xml\r\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "page" => {
            let headers = format!("content-type: text/html\r\nrefresh: 0; url={query}\r\n");
            whole(&headers, format!("<meta http-equiv=refresh content='0; url={query}'>").as_bytes())
        }
        "located" => whole(&format!("content-location: {query}\r\n"), image),
        "status" => response(&format!("{with} So it is"), "", image),
        "packed" => whole(&format!("content-encoding: {with}\r\n"), image),
        "says" => format!("HTTP/1.1 200 OK\r\ncontent-length: {with}\r\n\r\n").into_bytes(),
        "short" => declared(image.len() + 1, image),
        "long" => declared(image.len() / 2, image),
        "headers" => whole(&"x-a: b\r\n".repeat(with.parse().unwrap_or_default()), image),
        "header" => whole(&format!("x-a: {}\r\n", "b".repeat(with.parse().unwrap_or_default())), image),
        // A SETTINGS frame and many PING frames of HTTP/2.
        "http2" => [&b"\0\0\0\x04\0\0\0\0\0"[..], &b"\0\0\x08\x06\0\0\0\0\0abcdefgh".repeat(1000)].concat(),
        "noise" => b"\xff\0SSH-2.0-x\r\n\r\n".to_vec(),
        "closes" => Vec::new(),
        _ => not_found(),
    }
}

/// A redirection, by its name.
fn redirect(what: &str, with: &str, query: &str) -> Vec<u8> {
    match what {
        "redirect" => response(&format!("{with} Elsewhere"), &format!("location: {query}\r\n"), b""),
        "redirect-twice" => {
            let headers = format!("location: /picture\r\nlocation: {query}\r\n");
            response("302 Found", &headers, b"")
        }
        "redirect-far" => {
            let far = format!("location: /picture#{}\r\n", "x".repeat(64 << 10));
            response("302 Found", &far, b"")
        }
        _ => not_found(),
    }
}

fn not_found() -> Vec<u8> {
    response("404 Not Found", "", b"")
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// An answer whose `content-length` is `length`.
fn declared(length: usize, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes(), body].concat()
}

fn drip(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte])?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// A small image.
fn image() -> Vec<u8> {
    let mut file = io::Cursor::new(Vec::new());
    // Writing to memory cannot fail.
    let _ = DynamicImage::new_rgb8(40, 30).write_to(&mut file, ImageFormat::Png);
    file.into_inner()
}
