//! Tests of a backend that panics, runs out of memory or computes non-finite numbers: the effect on its requests
//! and on their neighbours.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use critic::{
    Backend, BackendError, Batch, Chunk, Encoded, Limits, SamplingParams, StepOutput, TokenId, Wants,
};
use engine::{
    Client, Config, Engine, EngineError, Event, MANY_NON_FINITE, OnPanic, Part, QUARANTINE, Request, Stats,
    Tenant, TokenStream,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

const VOCABULARY: u32 = 50;

/// The faults of a backend.
#[derive(Default)]
struct Faults {
    /// The step that panics, counted from 1; 0 for none.
    panics_at: AtomicUsize,
    /// Every step panics that starts a prompt whose first token is this one; 0 for none.
    panics_over: AtomicU32,
    /// Whether steps with more tokens than the random room of the moment fail.
    is_tight: AtomicBool,
    /// Whether the value computed for [`SICK`] is not a number.
    is_sick: AtomicBool,
    /// Number of failed steps.
    failed: AtomicUsize,
    /// How often the backend was told to forget features.
    forgotten: AtomicUsize,
}

/// A token for which a faulty device computes NaN.
const SICK: u32 = 40;

/// Stores a number for each position in its block, and writes the sum of all numbers of a sequence.
struct Summing {
    faults: Arc<Faults>,
    memory: HashMap<(u32, usize), f32>,
    steps: usize,
    random: StdRng,
}

impl Backend for Summing {
    fn limits(&self) -> Limits {
        Limits {
            block_size: 4,
            block_count: 64,
            context_length: 64,
            max_step_tokens: 12,
            efficient_step_tokens: 12,
        }
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        self.steps += 1;
        assert!(self.steps != self.faults.panics_at.load(SeqCst), "the device is gone");
        let poison = self.faults.panics_over.load(SeqCst);
        let begins_with = |chunk: &Chunk| chunk.start == 0 && chunk.tokens[0] == TokenId(poison);
        assert!(poison == 0 || !batch.chunks.iter().any(begins_with), "the device is gone");
        let room = self.random.random_range(1..14);
        if self.faults.is_tight.load(SeqCst) && batch.token_count() > room {
            self.faults.failed.fetch_add(1, SeqCst);
            return Err(BackendError::Compute("out of memory".into()));
        }
        let mut outputs = Vec::new();
        for chunk in &batch.chunks {
            let place = |position: usize| (chunk.block_table[position / 4].0, position % 4);
            for (token, position) in chunk.tokens.iter().zip(chunk.start..) {
                let sick = token.0 == SICK && self.faults.is_sick.load(SeqCst);
                self.memory.insert(place(position), if sick { f32::NAN } else { token.0 as f32 });
            }
            if chunk.wants == Wants::Logits {
                // Positions before the chunk may have been computed by another sequence.
                let sum: f32 = (0..chunk.end()).map(|position| self.memory[&place(position)]).sum();
                let high = if sum.is_nan() { f32::NAN } else { 5.0 };
                let next = sum as u32 % VOCABULARY;
                let logits = (0..VOCABULARY).map(|id| if id == next { high } else { 0.0 });
                outputs.push(StepOutput::Logits(logits.collect()));
            }
        }
        Ok(outputs)
    }

    fn forget_features(&mut self) {
        self.faults.forgotten.fetch_add(1, SeqCst);
    }
}

fn start(faults: &Arc<Faults>) -> Engine {
    start_with(faults, Config::default())
}

fn start_with(faults: &Arc<Faults>, config: Config) -> Engine {
    let random = StdRng::seed_from_u64(7);
    let backend = Summing { faults: faults.clone(), memory: HashMap::new(), steps: 0, random };
    Engine::start(Box::new(backend), Config { max_sequences: 8, ..config })
}

fn request(prompt: &[u32], tenant: &str) -> Request {
    Request {
        encoded: Encoded { tokens: prompt.iter().map(|id| TokenId(*id)).collect(), visuals: Vec::new() },
        sampling: SamplingParams::default(),
        script: vec![Part::Generate(6)],
        end_tokens: Vec::new(),
        client: Client { tenant: Tenant(tenant.into()), ..Client::default() },
    }
}

/// The tokens of a stream, or the failure.
fn collect(mut stream: TokenStream) -> Result<Vec<u32>, String> {
    let mut tokens = Vec::new();
    loop {
        match stream.blocking_next().expect("a stream ends with an event") {
            Event::Token(sampled) => tokens.push(sampled.token.0),
            Event::Finished(..) => return Ok(tokens),
            Event::Failed(failure) => return Err(failure.to_string()),
            Event::Admitted { .. } | Event::Reward(_) | Event::Fixed(_) | Event::Chosen(_) => {}
        }
    }
}

fn wait_for(engine: &Engine, wanted: impl Fn(&Stats) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !wanted(&engine.stats()) {
        assert!(Instant::now() < deadline, "{:?}", engine.stats());
        std::thread::yield_now();
    }
}

fn is_whole(stats: &Stats) -> bool {
    stats.running == 0 && stats.waiting() == 0 && stats.free_blocks == stats.total_blocks
}

/// Prompts of different lengths, which share prefixes.
fn prompts() -> Vec<Vec<u32>> {
    (0..24u32).map(|index| (0..3 + index % 20).map(|at| (at * 7 + index / 4) % 30).collect()).collect()
}

#[test]
fn a_panic_at_any_step_is_told_to_all_who_are_there() {
    let whole: Vec<_> = {
        let engine = start(&Arc::default());
        prompts()
            .iter()
            .map(|prompt| collect(engine.submit(request(prompt, "a")).unwrap()).unwrap())
            .collect()
    };
    for step in 1..20 {
        let faults = Arc::new(Faults { panics_at: step.into(), ..Faults::default() });
        let engine = start(&faults);
        let asked: Vec<_> = prompts().iter().map(|prompt| engine.submit(request(prompt, "a"))).collect();
        let mut told = 0;
        for (asked, whole) in asked.into_iter().zip(&whole) {
            match asked.map(collect) {
                Ok(Ok(tokens)) => assert_eq!(tokens, *whole, "it was answered before"),
                Ok(Err(failure)) => {
                    assert!(failure.contains("panicked"), "{failure}");
                    told += 1;
                }
                Err(error) => assert!(matches!(error, EngineError::Stopped), "{error}"),
            }
        }
        assert!(told > 0, "step {step}");
        wait_for(&engine, |stats| !stats.alive);
        assert!(matches!(engine.submit(request(&[1], "a")), Err(EngineError::Stopped)));
    }
}

#[test]
fn what_the_engine_dies_of_is_found_out_among_its_neighbours_and_refused() {
    const POISON: u32 = 45; // no other prompt begins with it
    let faults = Arc::new(Faults { panics_over: POISON.into(), ..Faults::default() });
    let engine = start_with(&faults, Config { on_panic: OnPanic::Restart, ..Config::default() });
    let poisoned = || engine.submit(request(&[POISON, 1, 2], "a"));
    let mut deaths = 0;
    // All requests are repeated after each death, as by clients that retry.
    let refused = loop {
        let recent_tenants: Vec<_> =
            prompts()[..6].iter().map(|prompt| engine.submit(request(prompt, "b"))).collect();
        let told = match poisoned() {
            Ok(stream) => collect(stream),
            Err(error) => break error,
        };
        assert!(told.unwrap_err().contains("panicked"));
        deaths += 1;
        assert!(deaths < 3, "it is refused after two");
        recent_tenants.into_iter().for_each(|stream| drop(collect(stream.unwrap())));
    };
    assert!(
        matches!(refused, EngineError::Quarantined { left_s } if left_s <= QUARANTINE.as_secs()),
        "{refused}"
    );
    // It is rejected for every tenant, and nothing else is.
    assert!(matches!(engine.submit(request(&[POISON, 1, 2], "c")), Err(EngineError::Quarantined { .. })));
    for prompt in &prompts() {
        assert!(collect(engine.submit(request(prompt, "b")).unwrap()).is_ok());
    }
    wait_for(&engine, is_whole);
}

#[test]
fn a_device_without_memory_hurts_those_alone_who_need_too_much_alone() {
    let faults = Arc::new(Faults::default());
    let engine = start(&faults);
    let ask = |prompt: &Vec<u32>, round: usize| {
        // Each round has its own tenant, so that nothing is cached from the round before.
        engine.submit(request(prompt, &round.to_string())).unwrap()
    };
    let wanted: Vec<_> = prompts().iter().map(|prompt| collect(ask(prompt, 0)).unwrap()).collect();
    faults.is_tight.store(true, SeqCst);
    let (mut answered, mut refused, mut round) = (0, 0, 0);
    while faults.failed.load(SeqCst) < 1000 {
        round += 1;
        let streams: Vec<_> = prompts().iter().map(|prompt| ask(prompt, round)).collect();
        for (stream, wanted) in streams.into_iter().zip(&wanted) {
            match collect(stream) {
                Ok(tokens) => {
                    assert_eq!(tokens, *wanted);
                    answered += 1;
                }
                Err(failure) => {
                    assert!(failure.contains("failed on a step"), "{failure}");
                    refused += 1;
                }
            }
        }
        wait_for(&engine, is_whole);
    }
    assert!(answered > 100 && refused > 10, "{answered} and {refused}");
    faults.is_tight.store(false, SeqCst);
    for (prompt, wanted) in prompts().iter().zip(&wanted) {
        assert_eq!(collect(ask(prompt, 0)).unwrap(), *wanted);
    }
}

#[test]
fn what_is_no_number_hurts_one_request_and_is_kept_for_nobody() {
    let faults = Arc::new(Faults::default());
    let engine = start(&faults);
    let ask = |prompt: &[u32]| engine.submit(request(prompt, "a")).unwrap();
    // Longer than a step, so that the faulty block is cached before its logits are checked.
    let mut sick: Vec<u32> = (0..30).map(|at| at % 9).collect();
    sick[1] = SICK;
    let well: Vec<Vec<u32>> = (1..6).map(|seed| (0..20).map(|at| (at + seed) % 11).collect()).collect();
    let wanted: Vec<_> = well.iter().map(|prompt| collect(ask(prompt)).unwrap()).collect();
    for round in 1..=MANY_NON_FINITE {
        faults.is_sick.store(true, SeqCst);
        sick[29] = round as u32;
        let recent_tenants: Vec<_> = well[..2].iter().map(|prompt| ask(prompt)).collect();
        let forgotten = faults.forgotten.load(SeqCst);
        let failure = collect(ask(&sick)).unwrap_err();
        assert!(failure.contains("finite"), "{failure}");
        assert!(faults.forgotten.load(SeqCst) > forgotten, "features that may be at fault are forgotten");
        for (neighbour, wanted) in recent_tenants.into_iter().zip(&wanted) {
            assert_eq!(collect(neighbour).unwrap(), *wanted);
        }
        let stats = engine.stats();
        assert_eq!((stats.non_finite, stats.recent_non_finite), (round as u64, round));
        // After the fault, neither the same prompt nor any other finds anything that was computed during it.
        faults.is_sick.store(false, SeqCst);
        collect(ask(&sick)).unwrap();
        for (prompt, wanted) in well.iter().zip(&wanted) {
            assert_eq!(collect(ask(prompt)).unwrap(), *wanted);
        }
        sick[2] += 1; // the healthy blocks are cached by now
    }
    wait_for(&engine, is_whole);
}
