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

use super::{outcome::Outcome, report::Behaviour, scene::Scene};
use crate::live::{self, Received, Reply};

/// How much longer than its timeout a server may take on a busy machine before the timeout counts as not
/// enforced.
pub(crate) const SLACK: Duration = Duration::from_secs(30);

/// The outcome of a client, and the time until then.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) outcome: Outcome,
    pub(crate) time: Duration,
}

type Doing<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Runs this many clients concurrently, and returns what each of them returned, or its error.
pub(crate) async fn each<T: Send + 'static>(
    scene: &Arc<Scene>,
    clients: usize,
    client: impl Fn(Arc<Scene>, usize) -> Doing<T>,
) -> Vec<Result<T, String>> {
    let mut doing = JoinSet::new();
    for number in 0..clients {
        doing.spawn(client(scene.clone(), number));
    }
    let mut all = Vec::with_capacity(clients);
    while let Some(done) = doing.join_next().await {
        let done = done.map_err(|error| error.to_string());
        all.push(done.and_then(|done| done.map_err(|error| error.to_string())));
    }
    all
}

/// Runs this many clients concurrently, and counts their outcomes.
pub(crate) async fn all(
    scene: &Arc<Scene>,
    clients: usize,
    client: impl Fn(Arc<Scene>, usize) -> Doing<Fate>,
) -> Behaviour {
    let mut behaviour = Behaviour::default();
    for fate in each(scene, clients, client).await {
        let failed = |error| Fate { outcome: Outcome::Failed(error), time: Duration::ZERO };
        let Fate { outcome, time } = fate.unwrap_or_else(failed);
        behaviour.note(outcome, time);
    }
    behaviour
}

/// Sends a piece with each beat until the server answers or closes.
pub(crate) async fn trickle(stream: &mut TcpStream, piece: &[u8], beat: Duration, limit: Duration) -> Fate {
    let (start, mut buffer) = (Instant::now(), [0; 512]);
    let outcome = loop {
        match timeout(beat, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break Outcome::Closed,
            Ok(Ok(count)) => break live::status(&buffer[..count]).map_or(Outcome::NoAnswer, Outcome::Status),
            Err(_) if start.elapsed() > limit + SLACK => break Outcome::LeftOpen,
            // When sending fails, the next read returns the reason.
            Err(_) => drop(stream.write_all(piece).await),
        }
    };
    Fate { outcome, time: start.elapsed() }
}

/// Reads an answer completely.
///
/// # Errors
/// When the connection fails or ends before the answer does.
pub(crate) async fn answer(stream: &mut TcpStream) -> io::Result<Reply> {
    let (mut received, mut buffer) = (Received::default(), [0; 4096]);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => received.add(&buffer[..count]),
        }
        if let Some(reply) = received.complete() {
            return Ok(reply);
        }
    }
}

/// Reads a stream of events completely; its outcome is its status, or that it was cut off if the last event is missing.
///
/// # Errors
/// When the connection fails or ends before the stream does.
pub(crate) async fn events(stream: &mut TcpStream) -> io::Result<Outcome> {
    let Reply { status, body, .. } = answer(stream).await?;
    // An answer with another status is no stream.
    let is_whole = status != 200 || String::from_utf8_lossy(&body).contains("data: [DONE]");
    Ok(if is_whole { Outcome::Status(status) } else { Outcome::CutOff })
}
