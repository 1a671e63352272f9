//! A small version of everyday traffic: judgements, rewards and chats, with invalid requests, clients that
//! leave, and key reloads.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    task::JoinSet,
    time::{interval, sleep},
};

use super::{
    clients::{answer, events},
    outcome::Outcome,
    report::Behaviour,
    scene::Scene,
};
use crate::live::MARK;

/// Concurrent clients: a few more than one step serves, so that some are always queued.
const CLIENTS: usize = 12;

/// The kind of a client's next request.
#[derive(Debug, Clone, Copy)]
enum Work {
    Judgement,
    Reward,
    Chat,
    /// A request that must be refused.
    Bad,
    /// A chat that is abandoned after a moment.
    Left,
}

/// What a request is to come to.
struct Expected {
    /// The outcome in the report.
    outcome: Outcome,
    /// What the client must see.
    answer: Outcome,
}

impl Work {
    /// Of 100 requests 10 are invalid and 5 abandoned; of the rest 60 % are judgements, 20 % rewards and 20 %
    /// chats.
    fn draw(random: &mut StdRng) -> Self {
        match random.random_range(0..100) {
            0..10 => Self::Bad,
            10..15 => Self::Left,
            15..66 => Self::Judgement,
            66..83 => Self::Reward,
            _ => Self::Chat,
        }
    }

    fn expected(self) -> Expected {
        let (outcome, answer) = match self {
            Self::Judgement => (Outcome::Judged, Outcome::Status(200)),
            Self::Reward => (Outcome::Rewarded, Outcome::Status(200)),
            Self::Chat => (Outcome::Chatted, Outcome::Status(200)),
            Self::Bad => (Outcome::Refused, Outcome::Status(400)),
            Self::Left => (Outcome::Left, Outcome::Left),
        };
        Expected { outcome, answer }
    }

    /// The whole HTTP request.
    fn request(self, scene: &Scene, number: usize) -> String {
        match self {
            Self::Judgement => scene.request("/judge", &scene.judgement(number)),
            Self::Reward => scene.request("/reward", &reward(scene, number)),
            Self::Chat => scene.request("/v1/chat/completions", &scene.chat(number, 8)),
            Self::Left => scene.request("/v1/chat/completions", &scene.chat(number, 64)),
            Self::Bad => {
                let cut = scene.judgement(number);
                let bodies = [
                    cut[..cut.len() / 2].to_owned(),
                    json!({ "messages": [{ "role": "user", "content": MARK }], "n": -1 }).to_string(),
                    json!({ "messages": [{ "role": "user", "content": [image("data:image/png;base64,AAAA")] }] }).to_string(),
                    json!({ "messages": [{ "role": "user", "content": [image("http://169.254.169.254/")] }] }).to_string(),
                ];
                scene.request("/v1/chat/completions", &bodies[number % bodies.len()])
            }
        }
    }
}

fn image(url: &str) -> serde_json::Value {
    json!({ "type": "image_url", "image_url": { "url": url } })
}

fn reward(scene: &Scene, number: usize) -> String {
    json!({
        "question": format!("What is there in picture {number}, {MARK}?"),
        "images": [scene.image],
        "responses": ["A red circle.", "A blue square.", "I do not know."],
    })
    .to_string()
}

/// Runs clients that send one request after another for a while, and rewrites the keys file in the meantime.
pub(crate) async fn mixed(scene: &Arc<Scene>) -> Result<Behaviour, String> {
    let lasting = scene.span(4, 25);
    let end = Instant::now() + lasting;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(work(scene.clone(), client, end));
    }
    let mut turns = interval(lasting / 4);
    let mut seen = Behaviour::default();
    loop {
        tokio::select! {
            _ = turns.tick() => scene.keys_again().map_err(|error| error.to_string())?,
            joined = clients.join_next() => match joined {
                Some(worked) => seen.add(worked.map_err(|error| error.to_string())?),
                None => break,
            },
        }
    }
    let expected = [Outcome::Judged, Outcome::Rewarded, Outcome::Chatted, Outcome::Refused, Outcome::Left];
    seen.must_be(&expected);
    seen.figure("requests_per_s", seen.clients as f64 / lasting.as_secs_f64());
    Ok(seen)
}

async fn work(scene: Arc<Scene>, client: usize, end: Instant) -> Behaviour {
    let mut seen = Behaviour::default();
    let mut random = StdRng::seed_from_u64(client as u64);
    for number in client * 1_000_000.. {
        if Instant::now() >= end {
            break;
        }
        let work = Work::draw(&mut random);
        let stay = Duration::from_millis(random.random_range(0..200));
        let start = Instant::now();
        let asked = async {
            let mut stream = scene.connect(client, None).await?;
            stream.write_all(work.request(&scene, number).as_bytes()).await?;
            match work {
                Work::Chat => events(&mut stream).await,
                Work::Left => {
                    sleep(stay).await;
                    Ok(Outcome::Left)
                }
                Work::Judgement | Work::Reward | Work::Bad => {
                    Ok(Outcome::Status(answer(&mut stream).await?.status))
                }
            }
        };
        let Expected { outcome: expected, answer: expected_answer } = work.expected();
        let got = match asked.await {
            Ok(answer) if answer == expected_answer => None,
            Ok(answer) => Some(answer.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let outcome = match got {
            None => expected,
            Some(got) => Outcome::Unexpected { expected: Box::new(expected), got },
        };
        seen.note(outcome, start.elapsed());
    }
    seen
}
