//! Many concurrent clients, and the outcome of each.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use super::{report::Behaviour, scene::Scene};

/// How much longer than its timeout a server may take on a busy machine before the timeout counts as not
/// enforced.
pub(crate) const SLACK: Duration = Duration::from_secs(30);

/// The outcome of a client as a word, and the time until then.
pub(crate) type Fate = (String, Duration);
type Doing = Pin<Box<dyn Future<Output = io::Result<Fate>> + Send>>;

/// Runs this many clients concurrently, and counts their outcomes.
pub(crate) async fn all(
    scene: &Arc<Scene>,
    clients: usize,
    client: impl Fn(Arc<Scene>, usize) -> Doing,
) -> Behaviour {
    let mut doing = JoinSet::new();
    for number in 0..clients {
        doing.spawn(client(scene.clone(), number));
    }
    let mut behaviour = Behaviour::default();
    while let Some(fate) = doing.join_next().await {
        let fate = fate.map_err(|error| error.to_string());
        let (word, time) = match fate.and_then(|fate| fate.map_err(|error| error.to_string())) {
            Ok(fate) => fate,
            Err(error) => (format!("failed: {error}"), Duration::ZERO),
        };
        behaviour.note(&word, time);
    }
    behaviour
}

/// Sends a piece with each beat until the server answers or closes; returns the status, or a word for the
/// outcome.
pub(crate) async fn trickle(
    stream: &mut TcpStream,
    (piece, beat): (&[u8], Duration),
    limit: Duration,
) -> Fate {
    let (start, mut buffer) = (Instant::now(), [0; 512]);
    loop {
        match timeout(beat, stream.read(&mut buffer)).await {
            Ok(Ok(count)) => return (status(&buffer[..count]), start.elapsed()),
            Ok(Err(_)) => return ("closed".to_owned(), start.elapsed()),
            Err(_) if start.elapsed() > limit + SLACK => return ("left open".to_owned(), start.elapsed()),
            // When sending fails, the next read returns the reason.
            Err(_) => drop(stream.write_all(piece).await),
        }
    }
}

/// The status code at the beginning of an answer.
pub(crate) fn status(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    match text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
        Some(status) => status.to_owned(),
        None if answer.is_empty() => "closed".to_owned(),
        None => "no answer".to_owned(),
    }
}

/// Reads an answer with a `content-length` completely, and returns its status.
///
/// # Errors
/// When the connection fails or ends before the answer does.
pub(crate) async fn answer(stream: &mut TcpStream) -> io::Result<String> {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = text.windows(4).position(|mark| mark == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if text.len() >= end + 4 + length.unwrap_or(0) {
                return Ok(status(&text));
            }
        }
        match stream.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => text.extend(&buffer[..count]),
        }
    }
}

/// Reads a stream of events completely; returns its status, or `cut off` if the last event is missing.
///
/// # Errors
/// When the connection fails or ends before the stream does.
pub(crate) async fn events(stream: &mut TcpStream) -> io::Result<String> {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while !text.ends_with(b"0\r\n\r\n") {
        match stream.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => text.extend(&buffer[..count]),
        }
        // An answer with another status is no stream, and has a `content-length`.
        if status(&text) != "200" {
            return Ok(status(&text));
        }
    }
    let whole = String::from_utf8_lossy(&text).contains("data: [DONE]");
    Ok(if whole { status(&text) } else { "cut off".to_owned() })
}
