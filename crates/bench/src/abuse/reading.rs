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

use super::{clients::SLACK, report::Behaviour, scene::Scene};

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
    seen.count("closed unread", closed as usize);
    slow.abort_all();
    while let Some(ended) = slow.join_next().await {
        match ended {
            Ok(Some(fate)) => seen.note(&fate, Duration::ZERO),
            Ok(None) => seen.note("read to the end", Duration::ZERO),
            Err(_still_reading) => seen.note("read slowly", Duration::ZERO),
        }
    }
    drop(held);
    seen.must_be(&["closed unread", "read slowly", "read to the end"]);
    Ok(seen)
}

/// Reads a little with each beat; returns what went wrong, or `None` if the answer was complete.
async fn read_slowly(mut stream: TcpStream, beat: Duration) -> Option<String> {
    let mut all = Vec::new();
    loop {
        let mut buffer = [0; SLOWLY];
        match timeout(Duration::from_secs(300), stream.read(&mut buffer)).await {
            Ok(Ok(0)) => break,
            Ok(Ok(count)) => all.extend(&buffer[..count]),
            Ok(Err(error)) => return Some(format!("slow reader: {error}")),
            Err(_) => return Some("slow reader: nothing came".to_owned()),
        }
        tokio::time::sleep(beat).await;
    }
    let whole = String::from_utf8_lossy(&all).contains("[DONE]");
    (!whole).then(|| "slow reader: cut off".to_owned())
}
