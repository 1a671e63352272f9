//! Heads and bodies that are sent in small pieces, until the server's timeouts end them.

use std::{sync::Arc, time::Duration};

use tokio::io::AsyncWriteExt;

use super::{
    clients::{all, trickle},
    outcome::Outcome,
    report::Behaviour,
    scene::Scene,
};

/// Each connection must be closed when its head takes too long, however often a byte arrives.
pub(crate) async fn heads(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    // Fewer than the server has places for, so that honest clients are served next to them and not after them.
    let clients = scene.count(60, 4000);
    let mut seen = all(scene, clients, |scene, number| {
        Box::pin(async move {
            let mut stream = scene.connect(number, None).await?;
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await?;
            let beat = scene.limits.head / 4;
            Ok(trickle(&mut stream, b"y", beat, scene.limits.head).await)
        })
    })
    .await;
    seen.must_be(&[Outcome::Closed]);
    Ok(seen)
}

/// Each request must be refused for its slow body: 20 MiB, sent at 100 bytes per second.
pub(crate) async fn bodies(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let clients = scene.count(40, 1000);
    let mut seen = all(scene, clients, |scene, number| {
        Box::pin(async move {
            let mut stream = scene.connect(number, None).await?;
            let head = scene.head("POST", "/judge", 20 << 20);
            stream.write_all((head + "{\"question\": \"").as_bytes()).await?;
            let beat = Duration::from_millis(500);
            Ok(trickle(&mut stream, &[b'y'; 50], beat, scene.limits.body).await)
        })
    })
    .await;
    seen.must_be(&[Outcome::Status(408)]);
    Ok(seen)
}
