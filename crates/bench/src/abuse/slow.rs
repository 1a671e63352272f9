//! Heads and bodies that come byte by byte, for as long as the server lets them.

use std::{sync::Arc, time::Duration};

use tokio::io::AsyncWriteExt;

use super::{
    clients::{all, trickle},
    report::Behaviour,
    scene::Scene,
};

/// Each connection is to be closed when its head has taken too long, however often a piece comes.
pub(crate) async fn heads(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    // Fewer than there are places, so that honest clients are seen beside them and not behind.
    let clients = scene.count(60, 4000);
    let mut seen = all(scene, clients, |scene, number| {
        Box::pin(async move {
            let mut stream = scene.connect(number, None).await?;
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await?;
            let beat = scene.limits.head / 4;
            Ok(trickle(&mut stream, (b"y", beat), scene.limits.head).await)
        })
    })
    .await;
    seen.must_be(&["closed"]);
    Ok(seen)
}

/// Each request is to be refused for its body, which has twenty mebibytes and comes with a hundred bytes each second.
pub(crate) async fn bodies(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let clients = scene.count(40, 1000);
    let mut seen = all(scene, clients, |scene, number| {
        Box::pin(async move {
            let mut stream = scene.connect(number, None).await?;
            let head = scene.head(("POST", "/judge"), 20 << 20);
            stream.write_all((head + "{\"question\": \"").as_bytes()).await?;
            let piece = (&[b'y'; 50][..], Duration::from_millis(500));
            Ok(trickle(&mut stream, piece, scene.limits.body).await)
        })
    })
    .await;
    seen.must_be(&["408"]);
    Ok(seen)
}
