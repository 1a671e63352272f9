//! Clients that vanish silently: they receive nothing from the server and send nothing back.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::{SockFilter, SockRef};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    clients::{SLACK, answer},
    outcome::Outcome,
    report::Behaviour,
    scene::Scene,
};

/// Each connection must be given up: idle ones, those that send a body, and those that are being answered.
pub(crate) async fn vanishing(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let clients = scene.count(30, 2000);
    let open = "gavel_connections_open";
    let before = scene.figure(open).await?;
    let mut seen = Behaviour::default();
    let mut gone = Vec::new();
    for number in 0..clients {
        match vanish(scene, number).await {
            Ok(stream) => gone.push(stream),
            Err(error) => seen.problems.push(format!("a client that was to vanish: {error}")),
        }
    }
    let start = Instant::now();
    // Honest clients open and close connections.
    let few = before + 8.0;
    let mut left = scene.figure(open).await?;
    while left > few && start.elapsed() < scene.limits.peer.max(scene.limits.idle) + SLACK {
        tokio::time::sleep(Duration::from_millis(100)).await;
        left = scene.figure(open).await?;
    }
    let given_up = start.elapsed();
    let open = ((left - before).max(0.0) as usize).min(clients);
    if left > few {
        seen.count(Outcome::LeftOpen, open);
        seen.problems.push(format!("{open} of {clients} that vanished are still open"));
        seen.count(Outcome::GivenUp, clients - open);
    } else {
        seen.count(Outcome::GivenUp, gone.len());
    }
    seen.longest = given_up;
    // Idle connections must not last until the keep-alive timeout: TCP keep-alive probes detect them earlier.
    if given_up >= scene.limits.idle {
        seen.problems.push(format!("the last one was given up after {given_up:?}"));
    }
    Ok(seen)
}

/// Opens and uses a connection that then neither receives nor sends anything.
async fn vanish(scene: &Scene, number: usize) -> io::Result<TcpStream> {
    let mut stream = scene.connect(number, Some(4096)).await?;
    match number % 3 {
        0 => {
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
            answer(&mut stream).await?;
        }
        1 => stream.write_all((scene.head("POST", "/judge", 1 << 20) + "{").as_bytes()).await?,
        _ => {
            let request = scene.request("/v1/chat/completions", &scene.chat(number, 64));
            stream.write_all(request.as_bytes()).await?;
            let _beginning = stream.read(&mut [0; 64]).await?;
        }
    }
    deafen(&stream)?;
    Ok(stream)
}

/// Makes the system drop all incoming packets of this connection before TCP processes them, so that none is
/// acknowledged, as if the client were unreachable.
#[cfg(target_os = "linux")]
fn deafen(stream: &TcpStream) -> io::Result<()> {
    /// The packet filter instruction that returns a constant: the number of bytes of the packet to keep.
    const RETURN: u16 = 0x06;
    SockRef::from(stream).attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])
}

#[cfg(not(target_os = "linux"))]
fn deafen(_stream: &TcpStream) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
