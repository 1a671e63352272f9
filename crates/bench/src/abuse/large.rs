//! Large requests: images of the maximum size, a long queue of them, and prompts as long as the context next to
//! short ones.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{
    clients::{Fate, all, answer},
    flooding::now_and_then,
    outcome::Outcome,
    report::Behaviour,
    scene::Scene,
};
use crate::{client::Connection, drawn_image, latency::Latency, live::MARK};

/// A uniform square image as a PNG file, which is small however many pixels it has.
fn plain(side: u32) -> Result<Vec<u8>, String> {
    drawn_image::plain((side, side)).map_err(|error| error.to_string())
}

/// Many images at a time, each with as many pixels as a phone's largest: they are decoded in turns, within a
/// memory limit.
pub(crate) async fn large_images(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let file = Arc::new(plain(scene.count(2_000, 7_071) as u32)?);
    let mut seen = each_with_its_own(scene, scene.count(6, 64), &file).await;
    seen.must_be(&[Outcome::Status(200)]);
    Ok(seen)
}

/// More concurrent requests than the queue takes, each with an image of 300 kB: queued requests keep their
/// encoded image, the others are refused at once.
pub(crate) async fn long_line(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let mut noise = vec![0; 3 * 320 * 312];
    StdRng::seed_from_u64(1).fill_bytes(&mut noise);
    let file = Arc::new(drawn_image::of_pixels((320, 312), noise).map_err(|error| error.to_string())?);
    let mut seen = each_with_its_own(scene, scene.count(40, 1_500), &file).await;
    seen.must_be(&[200, 429, 503].map(Outcome::Status));
    Ok(seen)
}

/// This many concurrent clients, each with a file of its own of the same image.
async fn each_with_its_own(scene: &Arc<Scene>, clients: usize, file: &Arc<Vec<u8>>) -> Behaviour {
    let file = file.clone();
    all(scene, clients, move |scene, number| {
        let file = file.clone();
        Box::pin(async move {
            // Bytes after the end make it a different file, whose decoded image is not cached.
            let other = [&file[..], &number.to_be_bytes()].concat();
            let body = judgement(number, &BASE64_STANDARD.encode(other));
            posted(&scene, number, &body).await
        })
    })
    .await
}

/// Prompts nearly as long as the context, one after another, next to a client with short ones.
pub(crate) async fn long_prompts(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let own = scene.server(scene.neighbour.as_ref(), 0);
    let lasting = scene.span(3, 60);
    let alone = now_and_then(scene, &own, lasting).await?;
    let (beside, long) = tokio::join!(now_and_then(scene, &own, lasting), prompts(scene, lasting));
    let (beside, long) = (beside?, long?);
    let mut seen = Behaviour::default();
    seen.count(Outcome::LongAnswered, long.len());
    seen.count(Outcome::ShortAnswered, beside.latencies.len());
    seen.count_errors(&beside);
    seen.must_be(&[Outcome::LongAnswered, Outcome::ShortAnswered]);
    let (before, after, long) =
        (Latency::of(alone.latencies), Latency::of(beside.latencies), Latency::of(long));
    seen.figure("short_alone_p99_ms", before.p99_ms);
    seen.figure("short_beside_p50_ms", after.p50_ms);
    seen.figure("short_beside_p99_ms", after.p99_ms);
    seen.figure("long_p50_ms", long.p50_ms);
    seen.longest = Duration::from_secs_f64(long.max_ms / 1000.0);
    Ok(seen)
}

/// Sends long prompts, no two of which share a prefix, and returns their latencies.
async fn prompts(scene: &Arc<Scene>, lasting: Duration) -> Result<Vec<Duration>, String> {
    let told = |error: crate::error::BenchError| error.to_string();
    let mut connection = Connection::open(&scene.server(scene.crowd.as_ref(), 1)).await.map_err(told)?;
    let health: Value =
        serde_json::from_slice(&connection.health().await.map_err(told)?.body).unwrap_or_default();
    let tokens =
        health["context_length"].as_u64().ok_or("the server tells no length of its context")? as usize;
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < lasting {
        // A word has one or two tokens.
        let text = format!("{} {MARK} {}", times.len(), "one two ".repeat(tokens / 5));
        let body = json!({ "messages": [{ "role": "user", "content": text }], "max_tokens": 1 });
        let sent = Instant::now();
        let asked = connection.send(hyper::Method::POST, "/v1/chat/completions", body.to_string().into());
        let answer = asked.await.map_err(told)?;
        if answer.status != 200 {
            return Err(format!(
                "a long prompt: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ));
        }
        times.push(sent.elapsed());
    }
    Ok(times)
}

/// The body of a judgement of this image.
fn judgement(number: usize, image: &str) -> String {
    json!({
        "question": format!("What is there in picture {number}, {MARK}?"),
        "images": [image],
        "response": "Hardly anything.",
        "mode": "score",
        "memo": false,
    })
    .to_string()
}

/// Sends a judgement.
async fn posted(scene: &Scene, number: usize, body: &str) -> std::io::Result<Fate> {
    let mut stream = scene.connect(number, None).await?;
    let start = Instant::now();
    stream.write_all(scene.request("/judge", body).as_bytes()).await?;
    let outcome = Outcome::Status(answer(&mut stream).await?.status);
    Ok(Fate { outcome, time: start.elapsed() })
}
