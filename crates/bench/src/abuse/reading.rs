//! Clients that never read their answers, next to others that read slowly.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use super::{clients::SLACK, outcome::Outcome, report::Behaviour, scene::Scene};

/// The receive buffer of a client in bytes: so small that the server notices when nothing is read.
const WINDOW: u32 = 4096;
/// Tokens of an answer: with their probabilities they exceed all buffers between server and client.
const TOKENS: usize = 300;
/// Bytes per read of a slow reader, which reads thirty times within the server's timeout.
const SLOWLY: usize = 1024;

/// Connections that are never read must be closed; those that are read slowly must go on.
pub(crate) async fn unread(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    const STALLED: &str = "gavel_connections_lost_total{reason=\"stalled\"}";
    let clients = scene.count(12, 256);
    let before = scene.figure(STALLED).await?;
    let mut seen = Behaviour::default();
    let mut slow = JoinSet::new();
    let mut held = Vec::new();
    for number in 0..clients {
        let ask = async |number| -> std::io::Result<TcpStream> {
            let mut stream = scene.connect(number, Some(WINDOW)).await?;
            let request = scene.request("/v1/chat/completions", &scene.chat(number, TOKENS));
            stream.write_all(request.as_bytes()).await?;
            Ok(stream)
        };
        let both = async { Ok::<_, std::io::Error>((ask(2 * number).await?, ask(2 * number + 1).await?)) };
        let (never, slowly) = both.await.map_err(|error| error.to_string())?;
        held.push(never);
        slow.spawn(read_slowly(slowly, scene.limits.peer / 30));
    }
    // The last of them may be queued for some time before their answer begins.
    let start = Instant::now();
    let closed = loop {
        let closed = scene.figure(STALLED).await? - before;
        seen.longest = start.elapsed();
        if closed >= clients as f64 {
            break closed;
        }
        if start.elapsed() > scene.limits.peer + scene.span(60, 300) + SLACK {
            seen.problems.push(format!("{closed} of {clients} that never read were closed"));
            break closed;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    seen.count(Outcome::ClosedUnread, closed as usize);
    slow.abort_all();
    while let Some(ended) = slow.join_next().await {
        // One that was aborted was still reading.
        seen.note(ended.unwrap_or(Outcome::ReadSlowly), Duration::ZERO);
    }
    drop(held);
    seen.must_be(&[Outcome::ClosedUnread, Outcome::ReadSlowly, Outcome::ReadToEnd]);
    Ok(seen)
}

/// Reads a little with each beat, until the answer ends.
async fn read_slowly(mut stream: TcpStream, beat: Duration) -> Outcome {
    let mut all = Vec::new();
    loop {
        let mut buffer = [0; SLOWLY];
        match timeout(Duration::from_secs(300), stream.read(&mut buffer)).await {
            Ok(Ok(0)) => break,
            Ok(Ok(count)) => all.extend(&buffer[..count]),
            Ok(Err(error)) => return Outcome::SlowReaderFailed(error.to_string()),
            Err(_) => return Outcome::SlowReaderFailed("nothing came".to_owned()),
        }
        tokio::time::sleep(beat).await;
    }
    if String::from_utf8_lossy(&all).contains("[DONE]") {
        Outcome::ReadToEnd
    } else {
        Outcome::SlowReaderFailed("cut off".to_owned())
    }
}
