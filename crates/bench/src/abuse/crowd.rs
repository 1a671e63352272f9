//! Many connections: idle, or a new one for each request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::io::AsyncWriteExt;

use super::{
    clients::{Fate, all, answer, trickle},
    outcome::Outcome,
    report::Behaviour,
    scene::Scene,
};

/// Each connection sends one request, and must then be closed by the keep-alive timeout.
pub(crate) async fn idle(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let clients = scene.count(60, 3000);
    let mut seen = all(scene, clients, |scene, number| {
        Box::pin(async move {
            let mut stream = scene.connect(number, None).await?;
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
            if answer(&mut stream).await?.status != 200 {
                return Ok(Fate { outcome: Outcome::NoAnswer, time: Duration::ZERO });
            }
            Ok(trickle(&mut stream, b"", Duration::from_secs(1), scene.limits.idle).await)
        })
    })
    .await;
    seen.must_be(&[Outcome::Closed]);
    Ok(seen)
}

/// One request per connection, 64 connections at a time, for a while.
pub(crate) async fn churn(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    const AT_A_TIME: usize = 64;
    let (start, lasting) = (Instant::now(), scene.span(1, 30));
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    let mut seen = all(scene, AT_A_TIME, move |scene, _| {
        let made = counted.clone();
        Box::pin(async move {
            let mut longest = Duration::ZERO;
            while start.elapsed() < lasting {
                // Each group of connections from another address: the system keeps the ports of closed ones for
                // a minute.
                let number = made.fetch_add(1, Relaxed);
                let begun = Instant::now();
                let mut stream = scene.connect(number, None).await?;
                stream
                    .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                    .await?;
                let status = answer(&mut stream).await?.status;
                longest = longest.max(begun.elapsed());
                if status != 200 {
                    return Ok(Fate { outcome: Outcome::Status(status), time: longest });
                }
            }
            Ok(Fate { outcome: Outcome::Answered, time: longest })
        })
    })
    .await;
    seen.must_be(&[Outcome::Answered]);
    let count = made.load(Relaxed) as f64;
    seen.figure("connections", count);
    seen.figure("connections_per_s", count / start.elapsed().as_secs_f64());
    Ok(seen)
}
