//! Requests that arrive and are cancelled at any time: each one gets its own tokens and ends once, and all blocks are
//! freed.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use critic::{Backend, BackendError, Batch, Encoded, Limits, SamplingParams, StepOutput, TokenId, Wants};
use engine::{
    Client, Config, Engine, EngineError, Event, Labels, Part, QueueTimeout, Request, Tenant, Terms,
    TokenStream, Urgency,
};

use super::bytes::Bytes;

const VOCABULARY: u32 = 40;
/// A step with this token fails.
const POISON: u32 = 39;
const LIMITS: Limits = Limits {
    block_size: 4,
    block_count: 12,
    context_length: 40,
    max_step_tokens: 10,
    efficient_step_tokens: 10,
};

/// A backend that writes the successor of the last token, and checks that steps are valid.
struct Successor {
    /// The token that each slot of the cache holds.
    memory: HashMap<(u32, usize), u32>,
}

impl Backend for Successor {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        assert!(!batch.chunks.is_empty() && batch.token_count() <= LIMITS.max_step_tokens);
        if batch.chunks.iter().flat_map(|chunk| &chunk.tokens).any(|token| token.0 == POISON) {
            return Err(BackendError::NonFinite);
        }
        let mut outputs = Vec::new();
        for chunk in &batch.chunks {
            for (place, token) in chunk.tokens.iter().enumerate() {
                let position = chunk.start + place;
                self.memory.insert((chunk.block_table[position / 4].0, position % 4), token.0);
            }
            for position in 0..chunk.end() {
                let slot = (chunk.block_table[position / 4].0, position % 4);
                assert!(self.memory.contains_key(&slot), "position {position} was never written");
            }
            if chunk.wants == Wants::Logits {
                let next = (chunk.tokens.last().expect("a chunk has a token").0 + 1) % VOCABULARY;
                let logits = (0..VOCABULARY).map(|id| if id == next { 9.0 } else { 0.0 });
                outputs.push(StepOutput::Logits(logits.collect()));
            } else if chunk.wants == Wants::Reward {
                outputs.push(StepOutput::Reward(0.5));
            }
        }
        Ok(outputs)
    }
}

fn tokens(bytes: &mut Bytes<'_>) -> Vec<TokenId> {
    let (family, shared, own) = (bytes.below(3) as u32, bytes.below(20) as u32, bytes.below(8) as u32);
    let beginning = (0..shared).map(|index| (family * 7 + index) % 30);
    beginning.chain((0..own).map(|_| u32::from(bytes.byte()) % VOCABULARY)).map(TokenId).collect()
}

fn request(bytes: &mut Bytes<'_>) -> Request {
    let encoded = Encoded { tokens: tokens(bytes), visuals: Vec::new() };
    let labels = |texts: &[&[u32]]| {
        let texts = texts.iter().map(|text| text.iter().map(|id| TokenId(*id)).collect()).collect();
        Labels::new(texts).expect("they are told apart")
    };
    let mut script = Vec::new();
    for _ in 0..=bytes.below(3) {
        script.push(match bytes.below(5) {
            0 => Part::Fixed(vec![TokenId(3), TokenId(5)]),
            1 => Part::Choice { labels: labels(&[&[1, 1], &[1, 2], &[2, 1]]), distribution: true },
            2 => Part::Choice { labels: labels(&[&[7], &[8]]), distribution: false },
            3 => Part::Reward,
            _ => Part::Generate(bytes.below(9)),
        });
    }
    let tenant = Tenant(["a", "b", "c"][bytes.below(3)].into());
    let deadline = (bytes.below(8) == 0).then(|| Instant::now() + Duration::from_micros(bytes.byte().into()));
    let queue_timeout = (bytes.below(8) == 0)
        .then(|| QueueTimeout::new(Instant::now(), Duration::from_micros(u64::from(bytes.byte()) * 8)));
    let terms = Terms {
        weight: bytes.below(4) as u32 + 1,
        queue_share: bytes.below(5) as f32 / 4.0,
        ..Terms::default()
    };
    let urgency = if bytes.below(3) == 0 { Urgency::Background } else { Urgency::Now };
    Request {
        encoded,
        sampling: SamplingParams::default(),
        script,
        end_tokens: vec![TokenId(30)],
        client: Client { tenant, terms, urgency, deadline, queue_timeout },
    }
}

/// Reads a stream to its end; panics when it has no end, goes on after it, or has more than `most` tokens.
fn read(mut stream: TokenStream, most: usize) {
    let (mut count, mut ended) = (0, false);
    while let Some(event) = stream.blocking_next() {
        assert!(!ended, "something follows the end");
        match event {
            Event::Admitted { .. } | Event::Reward(_) => {}
            Event::Token(_) => count += 1,
            Event::Fixed(said) => count += said.len(),
            Event::Chosen(choice) => count += choice.tokens.len(),
            Event::Finished(..) | Event::Failed(_) => ended = true,
        }
    }
    assert!(ended && count <= most, "{count} of {most} tokens, ended: {ended}");
}

/// Panics when a request has no end, a block is lost, or the engine dies.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let config = Config {
        max_sequences: bytes.below(5) + 1,
        max_explaining: bytes.below(5),
        max_prefill_tokens: bytes.below(12),
        max_waiting: bytes.below(12) + 1,
        max_waiting_tokens: bytes.below(200),
        max_age: Duration::from_micros(u64::from(bytes.byte()) * 10),
        ..Config::default()
    };
    let backend = Successor { memory: HashMap::new() };
    let engine = Engine::start(Box::new(backend), config);
    let mut streams: Vec<(TokenStream, usize)> = Vec::new();
    for _ in 0..40 {
        if bytes.is_empty() {
            break;
        }
        match bytes.below(6) {
            0 if !streams.is_empty() => drop(streams.swap_remove(bytes.below(streams.len()))),
            1 => thread::yield_now(),
            2 if !streams.is_empty() => {
                let (stream, most) = streams.swap_remove(bytes.below(streams.len()));
                read(stream, most);
            }
            _ => {
                let request = request(&mut bytes);
                let most = request.max_reply_tokens();
                match engine.submit(request) {
                    Ok(stream) => streams.push((stream, most)),
                    Err(EngineError::Stopped) => panic!("the engine died"),
                    Err(
                        EngineError::Quarantined { .. }
                        | EngineError::Overloaded { .. }
                        | EngineError::ShareTaken { .. }
                        | EngineError::TooLong { .. }
                        | EngineError::Empty,
                    ) => {}
                }
            }
        }
    }
    for (stream, most) in streams {
        read(stream, most);
    }
    let queue_timeout = Instant::now() + Duration::from_secs(20);
    loop {
        let stats = engine.stats();
        assert!(stats.alive, "the engine died");
        let idle = stats.running == 0 && stats.waiting() == 0 && stats.waiting_tokens == 0;
        if idle && stats.free_blocks == stats.total_blocks {
            return;
        }
        assert!(Instant::now() < queue_timeout, "it does not come to rest: {stats:?}");
        thread::yield_now();
    }
}
