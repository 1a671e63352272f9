//! The engine over a small backend of plain arithmetic: what comes back, and what happens to blocks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use critic::{Backend, BackendError, Batch, Encoded, Limits, Logits, SamplingParams, TokenId};
use engine::{Config, Engine, EngineError, Event, FinishReason, Request, Stats};

/// Writes the successor of the last token, modulo the vocabulary. It checks that every sequence's tokens arrive in
/// order and once.
struct Counting {
    limits: Limits,
    /// Waits for a message before each step, when there is one.
    gate: Option<mpsc::Receiver<()>>,
    fails: Arc<AtomicBool>,
    largest_step: Arc<AtomicUsize>,
    computed: std::collections::HashMap<u64, usize>,
}

const VOCABULARY: u32 = 50;

impl Backend for Counting {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<Logits>, BackendError> {
        if let Some(gate) = &self.gate {
            let _ = gate.recv();
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(BackendError::NonFinite);
        }
        self.largest_step.fetch_max(batch.token_count(), Ordering::SeqCst);
        assert!(batch.token_count() <= self.limits.max_step_tokens);
        let mut rows = Vec::new();
        for chunk in &batch.chunks {
            let computed = self.computed.entry(chunk.sequence.0).or_insert(chunk.start);
            assert_eq!(chunk.start, *computed, "tokens run in order and once");
            *computed += chunk.tokens.len();
            assert!(*computed <= chunk.block_table.len() * self.limits.block_size, "positions have blocks");
            if chunk.wants_logits {
                let next = (chunk.tokens.last().unwrap().0 + 1) % VOCABULARY;
                rows.push((0..VOCABULARY).map(|id| if id == next { 5.0 } else { 0.0 }).collect());
            }
        }
        Ok(rows)
    }
}

struct Bench {
    engine: Engine,
    gate: mpsc::Sender<()>,
    fails: Arc<AtomicBool>,
    largest_step: Arc<AtomicUsize>,
}

fn start(gated: bool, config: Config) -> Bench {
    let (gate, gate_receiver) = mpsc::channel();
    let fails = Arc::new(AtomicBool::new(false));
    let largest_step = Arc::new(AtomicUsize::new(0));
    let backend = Counting {
        limits: Limits { block_size: 4, block_count: 16, context_length: 48, max_step_tokens: 8 },
        gate: gated.then_some(gate_receiver),
        fails: fails.clone(),
        largest_step: largest_step.clone(),
        computed: Default::default(),
    };
    Bench { engine: Engine::start(Box::new(backend), config), gate, fails, largest_step }
}

fn request(prompt: &[u32], max_new_tokens: usize) -> Request {
    Request {
        encoded: Encoded { tokens: prompt.iter().map(|id| TokenId(*id)).collect(), visuals: Vec::new() },
        sampling: SamplingParams::default(),
        max_new_tokens,
        end_tokens: vec![TokenId(30)],
        beginnings: Vec::new(),
    }
}

/// All tokens of a stream and why it ended.
fn collect(mut stream: engine::TokenStream) -> (Vec<u32>, Result<FinishReason, String>) {
    let mut tokens = Vec::new();
    loop {
        match stream.blocking_next().expect("a stream ends with an event") {
            Event::Admitted { .. } => {}
            Event::Token(sampled) => tokens.push(sampled.token.0),
            Event::Finished(reason) => return (tokens, Ok(reason)),
            Event::Failed(failure) => return (tokens, Err(failure.to_string())),
        }
    }
}

/// Waits until the engine's figures are as wanted; a minute is far more than any machine needs.
fn wait_for(engine: &Engine, wanted: impl Fn(&Stats) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !wanted(&engine.stats()) {
        assert!(Instant::now() < deadline, "{:?}", engine.stats());
        std::thread::yield_now();
    }
}

#[test]
fn many_sequences_share_steps_and_get_their_own_text() {
    let bench = start(false, Config { max_sequences: 4, max_waiting: 64 });
    let streams: Vec<_> = (0..20u32)
        .map(|index| {
            let prompt: Vec<u32> = (0..=index % 13).map(|id| (index + id) % 25).collect();
            let wanted = (index % 7 + 1) as usize;
            (bench.engine.submit(request(&prompt, wanted)).unwrap(), prompt, wanted)
        })
        .collect();
    for (stream, prompt, wanted) in streams {
        let first = prompt.last().unwrap() + 1;
        let all: Vec<u32> = (first..first + wanted as u32).collect();
        let expected = match all.iter().position(|id| *id == 30) {
            Some(end) => (all[..end].to_vec(), Ok(FinishReason::End)),
            None => (all, Ok(FinishReason::Length)),
        };
        assert_eq!(collect(stream), expected);
    }
    wait_for(&bench.engine, |stats| stats.running == 0 && stats.free_blocks == stats.total_blocks);
    assert_eq!(bench.largest_step.load(Ordering::SeqCst), 8, "prompts fill the budget of a step");
}

#[test]
fn a_dropped_stream_frees_its_blocks_before_the_next_step() {
    let bench = start(true, Config::default());
    let kept = bench.engine.submit(request(&[1, 2, 3], 4)).unwrap();
    let mut dropped = bench.engine.submit(request(&[9, 9], 40)).unwrap();
    for _ in 0..3 {
        bench.gate.send(()).unwrap();
    }
    assert!(matches!(dropped.blocking_next(), Some(Event::Admitted { cached_tokens: 0 })));
    assert!(matches!(dropped.blocking_next(), Some(Event::Token(_))));
    drop(dropped);
    let steps = bench.engine.stats().steps;
    bench.gate.send(()).unwrap();
    bench.gate.send(()).unwrap();
    let (tokens, reason) = {
        for _ in 0..3 {
            bench.gate.send(()).unwrap();
        }
        collect(kept)
    };
    assert_eq!((tokens.as_slice(), reason), ([4, 5, 6, 7].as_slice(), Ok(FinishReason::Length)));
    wait_for(&bench.engine, |stats| stats.running == 0 && stats.free_blocks == stats.total_blocks);
    let after = bench.engine.stats().steps - steps;
    assert!(after <= 6, "{after} steps ran after the client of 40 tokens left");
}

#[test]
fn a_failed_step_ends_its_sequences_and_nothing_else() {
    let bench = start(false, Config::default());
    bench.fails.store(true, Ordering::SeqCst);
    let (tokens, reason) = collect(bench.engine.submit(request(&[1], 5)).unwrap());
    assert!(tokens.is_empty() && reason.unwrap_err().contains("finite"));
    bench.fails.store(false, Ordering::SeqCst);
    assert_eq!(collect(bench.engine.submit(request(&[1], 2)).unwrap()).0, [2, 3]);
    wait_for(&bench.engine, |stats| stats.free_blocks == stats.total_blocks);
}

#[test]
fn what_never_fits_and_what_is_one_too_many_is_refused() {
    let bench = start(true, Config { max_sequences: 1, max_waiting: 2 });
    let refused = bench.engine.submit(request(&[1; 40], 9)).unwrap_err();
    assert!(matches!(refused, EngineError::TooLong { tokens: 40, limit: 48 }));
    assert!(matches!(bench.engine.submit(request(&[], 9)), Err(EngineError::Empty)));
    assert!(matches!(bench.engine.submit(request(&[1], 0)), Err(EngineError::Empty)));
    let running = bench.engine.submit(request(&[1], 3)).unwrap();
    wait_for(&bench.engine, |stats| stats.running == 1 && stats.waiting == 0);
    let waiting =
        [bench.engine.submit(request(&[1], 3)).unwrap(), bench.engine.submit(request(&[2], 3)).unwrap()];
    assert!(matches!(bench.engine.submit(request(&[3], 3)), Err(EngineError::Overloaded { .. })));
    for _ in 0..9 {
        bench.gate.send(()).unwrap();
    }
    assert_eq!(collect(running).0, [2, 3, 4]);
    let [first, second] = waiting;
    assert_eq!((collect(first).0, collect(second).0), (vec![2, 3, 4], vec![3, 4, 5]));
}

#[test]
fn a_text_begins_as_it_must_and_goes_on_as_it_likes() {
    let bench = start(false, Config::default());
    let mut asked = request(&[1], 5);
    asked.beginnings = [&[7, 9][..], &[8, 3]].map(|ids| ids.iter().map(|id| TokenId(*id)).collect()).to_vec();
    let (tokens, reason) = collect(bench.engine.submit(asked).unwrap());
    // After 1 the backend would write 2, which no beginning has; 7 and 8 are as likely, and 7 goes first.
    assert_eq!((tokens, reason), (vec![7, 9, 10, 11, 12], Ok(FinishReason::Length)));
}

#[test]
fn a_dead_thread_is_told() {
    struct Panicking;
    impl Backend for Panicking {
        fn limits(&self) -> Limits {
            Limits { block_size: 4, block_count: 4, context_length: 16, max_step_tokens: 4 }
        }
        fn forward(&mut self, _: &Batch) -> Result<Vec<Logits>, BackendError> {
            panic!("the device is gone")
        }
    }
    let engine = Engine::start(Box::new(Panicking), Config::default());
    assert!(engine.stats().alive);
    let mut stream = engine.submit(request(&[1], 1)).unwrap();
    assert!(matches!(stream.blocking_next(), Some(Event::Admitted { .. })));
    assert!(stream.blocking_next().is_none());
    wait_for(&engine, |stats| !stats.alive);
    assert!(matches!(engine.submit(request(&[1], 1)), Err(EngineError::Stopped)));
}
