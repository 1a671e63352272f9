//! Clients that disconnect at any moment: while they send, wait, or are answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    clients::{Fate, all},
    outcome::Outcome,
    report::Behaviour,
    scene::Scene,
};
use crate::{client::Connection, live::Check, load::Health};

/// The `max_tokens` of their chats.
const TOKENS: usize = 512;

/// Every client disconnects; soon afterwards the engine must be idle.
pub(crate) async fn leaving(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let before = health(scene).await?;
    let mut seen = Behaviour::default();
    let waves = scene.count(1, 10);
    let mut longest = Duration::ZERO;
    for wave in 0..waves {
        let left = all(scene, scene.count(60, 100), move |scene, number| {
            Box::pin(async move {
                let mut random = StdRng::seed_from_u64((wave * 1000 + number) as u64);
                let start = Instant::now();
                let request = match number % 2 {
                    0 => scene.request("/judge", &scene.judgement(wave * 1000 + number)),
                    _ => scene.request("/v1/chat/completions", &scene.chat(number, TOKENS)),
                };
                let mut stream = scene.connect(number, None).await?;
                let part = if random.random_bool(0.2) { random.random_range(0.0..1.0) } else { 1.0 };
                let sent = (request.len() as f64 * part) as usize;
                stream.write_all(&request.as_bytes()[..sent]).await?;
                let stay = Duration::from_millis(random.random_range(0..1000));
                let _ = timeout(stay, read(&mut stream)).await; // it leaves, whatever it has received
                Ok(Fate { outcome: Outcome::Left, time: start.elapsed() })
            })
        })
        .await;
        seen.add(left);
        let start = Instant::now();
        loop {
            let now = health(scene).await?;
            if now.engine.running + now.engine.waiting == 0 {
                break;
            }
            if start.elapsed() > Duration::from_secs(30) {
                let problem = format!("{} run, {} wait", now.engine.running, now.engine.waiting);
                return Err(Check::Idle.failed(problem));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        longest = longest.max(start.elapsed());
    }
    seen.must_be(&[Outcome::Left]);
    seen.figure("idle_after_ms", longest.as_secs_f64() * 1000.0);
    let written = health(scene).await?.engine.tokens - before.engine.tokens;
    seen.figure("tokens_written_each", written as f64 / (seen.clients as f64 / 2.0));
    Ok(seen)
}

async fn read(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

async fn health(scene: &Scene) -> Result<Health, String> {
    let server = scene.server(scene.access.key.as_ref(), 0);
    let asked = async { Health::ask(&mut Connection::open(&server).await?).await };
    asked.await.map_err(|error| error.to_string())
}
