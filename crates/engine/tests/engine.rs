//! Tests of the engine with a small arithmetic backend: the results, and the use of blocks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "engine/parts.rs"]
mod parts;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use critic::{Backend, BackendError, Batch, Encoded, Limits, SamplingParams, StepOutput, TokenId, Wants};
use engine::{
    Client, Config, Ending, Engine, EngineError, Event, Fingerprint, FinishReason, Labels, Observer, OnPanic,
    Part, Request, SequenceReport, Stage, Stats, StepReport, Tenant,
};

/// Writes the successor of the last token, modulo the vocabulary, and checks that every sequence's tokens arrive in
/// order and once.
struct Counting {
    limits: Limits,
    /// If set, each step waits for a message.
    gate: Option<mpsc::Receiver<()>>,
    /// Steps that contain this token fail.
    poison: Option<u32>,
    largest_step: Arc<AtomicUsize>,
    computed: std::collections::HashMap<u64, usize>,
}

const VOCABULARY: u32 = 50;
/// The logits after this token are not finite.
const NO_NUMBER: u32 = 49;

impl Backend for Counting {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        if let Some(gate) = &self.gate {
            let _ = gate.recv();
        }
        let tokens = || batch.chunks.iter().flat_map(|chunk| &chunk.tokens);
        if self.poison.is_some_and(|poison| tokens().any(|token| token.0 == poison)) {
            return Err(BackendError::Compute("a poisoned token".into()));
        }
        self.largest_step.fetch_max(batch.token_count(), Ordering::SeqCst);
        assert!(batch.token_count() <= self.limits.max_step_tokens);
        let mut outputs = Vec::new();
        for chunk in &batch.chunks {
            let computed = self.computed.entry(chunk.sequence.0).or_insert(chunk.start);
            assert_eq!(chunk.start, *computed, "tokens run in order and once");
            *computed += chunk.tokens.len();
            assert!(*computed <= chunk.block_table.len() * self.limits.block_size, "positions have blocks");
            if chunk.wants == Wants::Logits {
                let last = chunk.tokens.last().unwrap().0;
                let next = (last + 1) % VOCABULARY;
                let high = if last == NO_NUMBER { f32::NAN } else { 5.0 };
                let logits = (0..VOCABULARY).map(|id| if id == next { high } else { 0.0 });
                outputs.push(StepOutput::Logits(logits.collect()));
            }
        }
        Ok(outputs)
    }
}

struct Bench {
    engine: Engine,
    gate: mpsc::Sender<()>,
    largest_step: Arc<AtomicUsize>,
}

fn counting(gate: Option<mpsc::Receiver<()>>, largest_step: Arc<AtomicUsize>) -> Counting {
    Counting {
        limits: Limits {
            block_size: 4,
            block_count: 16,
            context_length: 48,
            max_step_tokens: 8,
            efficient_step_tokens: 8,
        },
        gate,
        poison: Some(48),
        largest_step,
        computed: Default::default(),
    }
}

fn start(gated: bool, config: Config) -> Bench {
    let (gate, gate_receiver) = mpsc::channel();
    let largest_step = Arc::new(AtomicUsize::new(0));
    let backend = counting(gated.then_some(gate_receiver), largest_step.clone());
    Bench { engine: Engine::start(Box::new(backend), config), gate, largest_step }
}

fn request(prompt: &[u32], max_new_tokens: usize) -> Request {
    Request {
        encoded: Encoded { tokens: prompt.iter().map(|id| TokenId(*id)).collect(), visuals: Vec::new() },
        sampling: SamplingParams::default(),
        script: vec![Part::Generate(max_new_tokens)],
        end_tokens: vec![TokenId(30)],
        client: Client::default(),
    }
}

/// All tokens of a stream and its end.
fn collect(mut stream: engine::TokenStream) -> (Vec<u32>, Result<FinishReason, String>) {
    let mut tokens = Vec::new();
    loop {
        match stream.blocking_next().expect("a stream ends with an event") {
            Event::Reward(_) => {}
            Event::Admitted { .. } => {}
            Event::Token(sampled) => tokens.push(sampled.token.0),
            Event::Fixed(said) => tokens.extend(said.iter().map(|token| token.0)),
            Event::Chosen(choice) => tokens.extend(choice.tokens.iter().map(|(token, _)| token.0)),
            Event::Finished(reason, _) => return (tokens, Ok(reason)),
            Event::Failed(failure) => return (tokens, Err(failure.to_string())),
        }
    }
}

/// Waits until the statistics satisfy a condition; a minute is far more than any machine needs.
fn wait_for(engine: &Engine, wanted: impl Fn(&Stats) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !wanted(&engine.stats()) {
        assert!(Instant::now() < deadline, "{:?}", engine.stats());
        std::thread::yield_now();
    }
}

#[test]
fn many_sequences_share_steps_and_get_their_own_text() {
    let bench = start(false, Config { max_sequences: 4, max_waiting: 64, ..Config::default() });
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
fn what_cannot_be_run_fails_alone() {
    let bench = start(true, Config::default());
    let [good, poisoned, no_number] =
        [&[1, 2][..], &[7, 48], &[NO_NUMBER]].map(|prompt| bench.engine.submit(request(prompt, 3)).unwrap());
    // The step of all three fails and is repeated one by one.
    for _ in 0..12 {
        bench.gate.send(()).unwrap();
    }
    assert_eq!(collect(good), (vec![3, 4, 5], Ok(FinishReason::Length)));
    assert!(collect(poisoned).1.unwrap_err().contains("failed"));
    assert!(collect(no_number).1.unwrap_err().contains("finite"));
    wait_for(&bench.engine, |stats| stats.free_blocks == stats.total_blocks);
}

#[test]
fn what_never_fits_and_what_is_one_too_many_is_refused() {
    let bench = start(true, Config { max_sequences: 1, max_waiting: 2, ..Config::default() });
    let refused = bench.engine.submit(request(&[1; 40], 9)).unwrap_err();
    assert!(matches!(refused, EngineError::TooLong { tokens: 40, limit: 48, of_images: 0, or_more: false }));
    assert!(matches!(bench.engine.submit(request(&[], 9)), Err(EngineError::Empty)));
    assert!(matches!(bench.engine.submit(request(&[1], 0)), Err(EngineError::Empty)));
    let running = bench.engine.submit(request(&[1], 3)).unwrap();
    wait_for(&bench.engine, |stats| stats.running == 1 && stats.waiting() == 0);
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
fn a_reply_follows_its_script() {
    let bench = start(false, Config::default());
    let texts = [&[7, 9][..], &[8, 3]].map(|ids| ids.iter().map(|id| TokenId(*id)).collect()).to_vec();
    let labels = Labels::new(texts).unwrap();
    let choose = Part::Choice { labels, distribution: true };
    let asked = Request { script: vec![choose, Part::Generate(3)], ..request(&[1], 1) };
    // After 1 the backend would write 2, which is in no label; 7 and 8 are equally likely, and 7 is the first.
    let (tokens, reason) = collect(bench.engine.submit(asked).unwrap());
    assert_eq!((tokens, reason), (vec![7, 9, 10, 11, 12], Ok(FinishReason::Length)));
    let nothing =
        Request { script: vec![Part::Fixed(vec![TokenId(1)]), Part::Generate(0)], ..request(&[1], 1) };
    assert!(matches!(bench.engine.submit(nothing), Err(EngineError::Empty)));
}

#[test]
fn the_waiting_line_is_bounded_in_tokens_too() {
    let config = Config { max_sequences: 1, max_waiting_tokens: 20, ..Config::default() };
    let bench = start(true, config);
    let running = bench.engine.submit(request(&[1], 3)).unwrap();
    wait_for(&bench.engine, |stats| stats.running == 1 && stats.waiting() == 0);
    let _waiting = bench.engine.submit(request(&[2; 15], 3)).unwrap();
    assert_eq!((bench.engine.stats().waiting_texts, bench.engine.stats().waiting_tokens), (1, 15));
    match bench.engine.submit(request(&[3; 6], 3)) {
        Err(EngineError::Overloaded { requests: 1, tokens: 15, retry_after_s: 1.. }) => {}
        other => panic!("{other:?}"),
    }
    // Twelve of these tokens will be cached by the request before.
    let _known = bench.engine.submit(request(&[&[2; 15][..], &[9]].concat(), 3)).unwrap();
    assert_eq!(bench.engine.stats().waiting_tokens, 19);
    drop(bench.gate);
    assert_eq!(collect(running).0, [2, 3, 4]);
}

#[test]
fn one_answer_serves_all_who_ask_the_same() {
    let bench = start(true, Config::default());
    let streams: Vec<_> = (0..5).map(|_| bench.engine.submit(request(&[1, 2, 3], 4)).unwrap()).collect();
    let client = Client { tenant: Tenant("other".into()), ..Client::default() };
    let other = Request { client, ..request(&[1, 2, 3], 4) };
    let other = bench.engine.submit(other).unwrap();
    drop(bench.gate);
    for stream in streams.into_iter().chain([other]) {
        assert_eq!(collect(stream), (vec![4, 5, 6, 7], Ok(FinishReason::Length)));
    }
    // For each of the two tenants: a prompt of three tokens, and three tokens after the first of its reply.
    wait_for(&bench.engine, |stats| stats.running == 0);
    assert_eq!(bench.engine.stats().tokens, 12);
}

struct Panicking;

impl Backend for Panicking {
    fn limits(&self) -> Limits {
        Limits {
            block_size: 4,
            block_count: 4,
            context_length: 16,
            max_step_tokens: 4,
            efficient_step_tokens: 4,
        }
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        assert!(batch.chunks[0].tokens[0].0 != 1, "the device is gone");
        Ok(vec![StepOutput::Logits(vec![0.0; 8])])
    }
}

#[test]
fn a_panic_is_told_and_ends_the_engine() {
    let engine = Engine::start(Box::new(Panicking), Config::default());
    assert!(engine.stats().alive);
    let (tokens, reason) = collect(engine.submit(request(&[1], 1)).unwrap());
    assert!(tokens.is_empty() && reason.unwrap_err().contains("panicked"));
    wait_for(&engine, |stats| !stats.alive);
    let stats = engine.stats();
    assert_eq!((stats.running, stats.free_blocks), (0, stats.total_blocks), "nothing runs any more");
    assert!(matches!(engine.submit(request(&[1], 1)), Err(EngineError::Stopped)));
}

#[test]
fn an_engine_that_restarts_goes_on_after_a_panic() {
    let engine =
        Engine::start(Box::new(Panicking), Config { on_panic: OnPanic::Restart, ..Config::default() });
    let known = [2; 5];
    for _ in 0..2 {
        assert!(collect(engine.submit(request(&known, 1)).unwrap()).1.is_ok());
    }
    let found = |stats: &Stats| stats.prefix.hits;
    wait_for(&engine, |stats| found(stats) == 1);
    assert!(collect(engine.submit(request(&[1], 1)).unwrap()).1.is_err());
    assert_eq!(collect(engine.submit(request(&[2], 1)).unwrap()), (vec![0], Ok(FinishReason::Length)));
    assert!(engine.stats().alive);
    // The cache is empty, and the counters continue.
    assert!(collect(engine.submit(request(&known, 1)).unwrap()).1.is_ok());
    assert_eq!(found(&engine.stats()), 1);
    assert!(collect(engine.submit(request(&known, 1)).unwrap()).1.is_ok());
    wait_for(&engine, |stats| found(stats) == 2);
}

/// Records all reports.
#[derive(Debug, Default)]
struct Recorder {
    run: Mutex<Vec<usize>>,
    steps: Mutex<Vec<StepReport>>,
    gaps: Mutex<Vec<Duration>>,
    ended: Mutex<Vec<SequenceReport>>,
}

impl Observer for Recorder {
    fn about_to_run(&self, requests: &BTreeSet<Fingerprint>) {
        self.run.lock().unwrap().push(requests.len());
    }

    fn step(&self, step: &StepReport) {
        self.steps.lock().unwrap().push(*step);
    }

    fn wrote(&self, gap: Duration) {
        self.gaps.lock().unwrap().push(gap);
    }

    fn ended(&self, sequence: &SequenceReport) {
        self.ended.lock().unwrap().push(*sequence);
    }
}

#[test]
fn those_who_watch_are_told_of_every_step_and_every_end() {
    let recorder = Arc::new(Recorder::default());
    let (gate, gate_receiver) = mpsc::channel();
    let backend = counting(Some(gate_receiver), Arc::default());
    let engine = Engine::observed(Box::new(backend), Config::default(), recorder.clone());
    let finished = engine.submit(request(&[1, 2, 3, 4, 5], 3)).unwrap();
    gate.send(()).unwrap();
    wait_for(&engine, |stats| stats.running == 1);
    let left = engine.submit(request(&[9; 6], 20)).unwrap();
    drop(left);
    drop(gate);
    assert_eq!(collect(finished).0, [6, 7, 8]);
    wait_for(&engine, |_| recorder.ended.lock().unwrap().len() == 2);
    let ended = recorder.ended.lock().unwrap();
    let abandoned = ended.iter().find(|report| report.ending == Ending::Abandoned).unwrap();
    assert_eq!((abandoned.reply_tokens, abandoned.prompt_tokens), (0, 6));
    let report = ended.iter().find(|report| report.ending == Ending::Finished).unwrap();
    assert_eq!((report.stage, report.prompt_tokens, report.cached_tokens), (Stage::Decode, 5, 0));
    assert_eq!((report.reply_tokens, report.to_choice, report.fanout), (3, None, 0));
    wait_for(&engine, |_| recorder.run.lock().unwrap().last() == Some(&0));
    assert!(recorder.run.lock().unwrap().iter().all(|count| *count <= 2));
    assert_eq!(recorder.gaps.lock().unwrap().len(), 2, "three tokens have two gaps");
    assert!(
        report.queued <= report.to_first_token.unwrap() && report.to_first_token.unwrap() <= report.total
    );
    let steps = recorder.steps.lock().unwrap();
    let sum = |tokens: fn(&StepReport) -> usize| steps.iter().map(tokens).sum::<usize>();
    assert!(sum(|step| step.prompt_tokens) >= 5 && sum(|step| step.reply_tokens) == 2, "{steps:?}");
    assert_eq!(sum(|step| step.prompt_tokens + step.reply_tokens) as u64, engine.stats().tokens);
}

#[test]
fn the_age_of_a_step_tells_a_stall_and_a_request_that_ran_out_of_time_is_told_apart() {
    let recorder = Arc::new(Recorder::default());
    let (gate, gate_receiver) = mpsc::channel();
    let backend = counting(Some(gate_receiver), Arc::default());
    let engine = Engine::observed(Box::new(backend), Config::default(), recorder.clone());
    assert_eq!(engine.stats().step_running, Duration::ZERO);
    let deadline = Some(Instant::now() + Duration::from_millis(1));
    let late = Request { client: Client { deadline, ..Client::default() }, ..request(&[1; 9], 3) };
    let late = engine.submit(late).unwrap();
    let _first = engine.submit(request(&[2; 9], 1)).unwrap();
    wait_for(&engine, |stats| stats.step_running > Duration::from_millis(5));
    drop(gate);
    assert!(collect(late).1.is_err());
    wait_for(&engine, |stats| stats.step_running.is_zero() && stats.running == 0);
    let ended: Vec<Ending> = recorder.ended.lock().unwrap().iter().map(|report| report.ending).collect();
    assert!(ended.contains(&Ending::Expired), "{ended:?}");
    // Two blocks of four of the nine tokens can be cached; the equal prompt that follows finds both.
    collect(engine.submit(request(&[2; 9], 2)).unwrap()).1.unwrap();
    let prefix = engine.stats().prefix;
    assert_eq!((prefix.hits, prefix.evictions), (2, 0));
    wait_for(&engine, |_| recorder.ended.lock().unwrap().last().is_some_and(|report| report.fanout == 1));
}
