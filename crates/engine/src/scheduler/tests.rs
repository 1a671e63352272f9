//! Tests of the scheduler with a memory that records the token of each slot.

mod admission_order;
mod properties;
mod sharing;
mod tokens_left;

use std::{collections::HashMap, fmt::Write, sync::Arc, time::Duration};

use critic::{Chunk, Encoded, SamplingParams, SequenceId, TokenId, Wants};

use super::*;
use crate::{
    arrival::Arrival,
    decoding::labels::Labels,
    prefix_cache::{block_keys, root},
    queue::{
        backlog::{QueueClient, QueueEntry, QueueSlot},
        ticket::Ticket,
        timeout::QueueTimeout,
    },
    request::{Lane, Part, Request, Tenant, Terms, Urgency},
    stream::TokenStream,
    subscribers::{Subscriber, Subscribers},
};

const LIMITS: Limits = Limits {
    block_size: 4,
    block_count: 12,
    context_length: 40,
    max_step_tokens: 10,
    efficient_step_tokens: 10,
};
const VOCABULARY: usize = 8;

/// The data of a request, and its stream while the client listens.
struct Client {
    prompt: Vec<u32>,
    reply: usize,
    deadline: Option<Instant>,
    stream: Option<TokenStream>,
}

/// The properties in which requests differ.
#[derive(Default, Clone)]
struct Traits {
    tenant: &'static str,
    deadline: Option<Instant>,
    /// Requests with the same name are equal.
    name: Option<u8>,
    urgency: Urgency,
    /// The token that ends a text.
    end: Option<u32>,
    temperature: f32,
    /// Whether the request is a suspect.
    runs_alone: bool,
    queue_timeout: Option<QueueTimeout>,
}

/// A scheduler, the tokens in its blocks, and its clients in the order of their sequence numbers.
struct Bench {
    scheduler: Scheduler,
    memory: HashMap<(u32, usize), u32>,
    /// The tokens that each sequence has run so far.
    said: HashMap<u64, Vec<u32>>,
    clients: Vec<Client>,
    now: Instant,
    /// The token favoured by the logits after a text.
    favours: fn(&[u32]) -> u32,
    /// The duration of a step per token.
    token_time: Duration,
    /// The place in the queue that the next request takes.
    queue_slot: Option<QueueSlot>,
}

impl Bench {
    fn new(max_sequences: usize) -> Self {
        Self::with(Config { max_sequences, ..Config::default() })
    }

    fn with(config: Config) -> Self {
        Self::within(LIMITS, config)
    }

    fn within(limits: Limits, config: Config) -> Self {
        let scheduler = Scheduler::new(limits, config, Arc::default());
        let (memory, said) = (HashMap::new(), HashMap::new());
        Self {
            scheduler,
            memory,
            said,
            clients: Vec::new(),
            now: Instant::now(),
            favours: |_| 1,
            token_time: Duration::ZERO,
            queue_slot: None,
        }
    }

    fn enqueue(&mut self, prompt: &[u32], max_new_tokens: usize) {
        self.ask(prompt, vec![Part::Generate(max_new_tokens)], Traits::default());
    }

    fn ask(&mut self, prompt: &[u32], script: Vec<Part>, traits: Traits) {
        let request = Request {
            encoded: Encoded { tokens: prompt.iter().map(|id| TokenId(*id)).collect(), visuals: Vec::new() },
            sampling: SamplingParams {
                temperature: traits.temperature,
                seed: prompt.len() as u64,
                ..SamplingParams::default()
            },
            script,
            end_tokens: traits.end.map(TokenId).into_iter().collect(),
            client: crate::request::Client {
                tenant: Tenant(traits.tenant.into()),
                deadline: traits.deadline,
                queue_timeout: traits.queue_timeout.clone(),
                urgency: traits.urgency,
                ..crate::request::Client::default()
            },
        };
        let reply = request.max_reply_tokens();
        let events = reply + request.script.len() + 2;
        let (subscriber, stream) = Subscriber::connected(events, traits.deadline, traits.queue_timeout);
        let serial = self.clients.len() as u8;
        let arrival = Arrival {
            id: SequenceId(u64::from(serial)),
            block_keys: block_keys(
                &request.encoded,
                LIMITS.block_size,
                root(&[0; 32], &request.client.tenant, &request.client.terms),
            ),
            // Unnamed requests are never equal.
            identity: traits.name.map_or([serial; 32], |name| [200 + name; 32]),
            fingerprint: Fingerprint([serial; 32]),
            runs_alone: traits.runs_alone,
            subscribers: Subscribers::new(subscriber),
            queue_slot: self.queue_slot.take(),
            arrived: self.now,
            request,
        };
        self.scheduler.enqueue(Sequence::new(arrival));
        let deadline = traits.deadline;
        self.clients.push(Client { prompt: prompt.to_vec(), reply, deadline, stream: Some(stream) });
    }

    /// Runs one step, and checks that every chunk finds the earlier tokens of its sequence in its blocks. Returns
    /// the chunks as text.
    fn step(&mut self) -> Option<String> {
        self.step_without(None)
    }

    /// The same, but the output of this client's sequence is not finite.
    fn step_without(&mut self, failing: Option<u64>) -> Option<String> {
        let waiting: Vec<(u64, Instant)> = self.waiting().collect();
        let batch = self.scheduler.schedule(self.now)?;
        self.check_order(&waiting);
        self.check_budget(&batch);
        let mut written = Vec::new();
        let mut line = String::new();
        for chunk in &batch.chunks {
            self.check_and_write(chunk, &mut written);
            let name = char::from(b'A' + chunk.sequence.0 as u8);
            write!(line, " {name}[{}..{}]", chunk.start, chunk.end()).unwrap();
        }
        let outcome = |chunk: &Chunk| match failing == Some(chunk.sequence.0) {
            true => Err(Failure::Backend(Arc::new(critic::BackendError::NonFinite))),
            false => Ok(self.output(chunk)),
        };
        let outcomes = batch.chunks.iter().map(outcome).collect();
        self.scheduler.commit(&batch, outcomes, self.now);
        let tokens = batch.token_count();
        self.scheduler.note_step(tokens, self.token_time * tokens as u32);
        assert!(self.scheduler.is_whole());
        Some(line.trim_start().to_owned())
    }

    fn output(&self, chunk: &Chunk) -> Option<StepOutput> {
        let text = &self.said[&chunk.sequence.0][..chunk.end()];
        let favourite = (self.favours)(text) as usize;
        match chunk.wants {
            Wants::Nothing => None,
            Wants::Logits => {
                let logits = (0..VOCABULARY).map(|id| f32::from(id == favourite));
                Some(StepOutput::Logits(logits.collect()))
            }
            Wants::Reward => Some(StepOutput::Reward(0.5)),
        }
    }

    fn waiting(&self) -> impl Iterator<Item = (u64, Instant)> {
        self.scheduler.waiting.iter().map(|sequence| (sequence.id().0, sequence.arrived()))
    }

    /// A sequence that has waited too long may be overtaken by younger ones only if it could not have started.
    fn check_order(&self, before: &[(u64, Instant)]) {
        let age = |arrived: Instant| self.now.saturating_duration_since(arrived);
        let is_old = |arrived: Instant| age(arrived) >= self.scheduler.config.max_age;
        let stays = |id: u64| {
            let mut wanted =
                self.scheduler.waiting.iter().filter(|sequence| sequence.urgency() == Urgency::Now);
            wanted.find(|sequence| sequence.id().0 == id)
        };
        let runs = |id: u64| self.scheduler.running.iter().any(|sequence| sequence.id().0 == id);
        for old in before.iter().filter(|(_, arrived)| is_old(*arrived)).filter_map(|(id, _)| stays(*id)) {
            let passed = before.iter().any(|(id, arrived)| *arrived > old.arrived() && runs(*id));
            assert!(!passed || !self.scheduler.may_start(old), "{:?} was passed", old.id());
        }
    }

    /// A step respects the limits on its tokens and lanes, and on the prompt tokens beside decoding sequences.
    fn check_budget(&self, batch: &Batch) {
        let Scheduler { limits, config, running, .. } = &self.scheduler;
        assert!(!batch.chunks.is_empty() && batch.token_count() <= limits.max_step_tokens);
        assert!(batch.chunks.iter().all(|chunk| !chunk.tokens.is_empty()));
        let explaining = self.scheduler.explaining();
        assert!(running.len() <= config.max_sequences && explaining <= config.max_explaining.max(1));
        let (prompts, tokens) = self.scheduler.prompts(batch);
        let writes = prompts < batch.chunks.len();
        assert!(!writes || tokens <= config.max_prefill_tokens.max(1), "{tokens} tokens keep others waiting");
        for chunk in &batch.chunks {
            let deadline = self.clients[chunk.sequence.0 as usize].deadline;
            assert!(deadline.is_none_or(|deadline| deadline > self.now), "work for one whose time is up");
        }
    }

    fn check_and_write(&mut self, chunk: &Chunk, written: &mut Vec<(u32, usize)>) {
        let prompt = &self.clients[chunk.sequence.0 as usize].prompt;
        let said = self.said.entry(chunk.sequence.0).or_insert_with(|| prompt.clone());
        let slot = |position: usize| (chunk.block_table[position / 4].0, position % 4);
        let tokens: Vec<u32> = chunk.tokens.iter().map(|token| token.0).collect();
        if chunk.start >= prompt.len() {
            said.truncate(chunk.start); // discards the look-ahead
            said.extend(&tokens);
        }
        assert_eq!(tokens, said[chunk.start..chunk.end()]);
        for (position, token) in said[..chunk.start].iter().enumerate() {
            assert_eq!(self.memory.get(&slot(position)), Some(token), "position {position} of {chunk:?}");
        }
        for (position, token) in (chunk.start..).zip(tokens) {
            assert!(!written.contains(&slot(position)), "two sequences write one slot");
            written.push(slot(position));
            self.memory.insert(slot(position), token);
        }
    }

    /// Runs steps until no work is left; returns their number.
    fn drain(&mut self) -> usize {
        let most: usize = self.clients.iter().map(|client| client.prompt.len() + 9 * client.reply).sum();
        let mut steps = 0;
        while self.step().is_some() {
            steps += 1;
            assert!(steps <= most, "no progress");
        }
        steps
    }

    /// For each client the number of tokens received and of cached prompt tokens; `None` for those that left.
    fn outcomes(&mut self) -> Vec<Option<(usize, usize)>> {
        let outcome = |stream: &mut TokenStream| {
            let (mut tokens, mut cached, mut finished) = (0, 0, false);
            let mut admitted = false;
            while let Some(event) = stream.try_next() {
                assert!(!finished, "nothing follows the end");
                match event {
                    Event::Admitted { cached_tokens } => {
                        assert!(!admitted, "it begins once");
                        (admitted, cached) = (true, cached_tokens);
                    }
                    Event::Token(_) => tokens += 1,
                    Event::Fixed(said) => tokens += said.len(),
                    Event::Chosen(choice) => tokens += choice.tokens.len(),
                    Event::Reward(_) => {}
                    Event::Finished(..) | Event::Failed(_) => finished = true,
                }
            }
            assert!(finished, "every request ends");
            (tokens, cached)
        };
        self.clients.iter_mut().map(|client| client.stream.as_mut().map(outcome)).collect()
    }
}

#[test]
fn a_failed_chunk_leaves_nothing_behind_and_hurts_no_other() {
    let mut bench = Bench::new(8);
    bench.enqueue(&[1; 6], 2);
    bench.enqueue(&[2; 20], 2);
    assert_eq!(bench.step_without(Some(0)).unwrap(), "A[0..6] B[0..4]");
    assert_eq!((bench.scheduler.running_count(), bench.scheduler.cached_blocks()), (1, 1));
    bench.drain();
    assert_eq!(bench.outcomes(), [Some((0, 0)), Some((2, 0))]);
}

fn choose(texts: &[&[u32]], distribution: bool) -> Part {
    let texts = texts.iter().map(|text| text.iter().map(|id| TokenId(*id)).collect()).collect();
    Part::Choice { labels: Labels::with_end_mark(texts, 1).unwrap(), distribution }
}

#[test]
fn labels_are_read_at_their_branches_and_the_chosen_one_goes_on_from_what_was_run() {
    let mut bench = Bench::new(8);
    // The logits always favour 1, though most of the probability is on other tokens. Among "7.", "1.", "11.", "12."
    // and "77.", with 0 as the full stop, "1." is therefore chosen: after 1, another 1 or 2 is less likely than not.
    let labels = choose(&[&[7, 0], &[1, 0], &[1, 1, 0], &[1, 2, 0], &[7, 7, 0]], true);
    bench.ask(&[5; 6], vec![labels, Part::Generate(2)], Traits::default());
    let timeline: Vec<String> = std::iter::from_fn(|| bench.step()).collect();
    // After the prompt: "1" to look ahead, "7" in its place, then "1." as a whole.
    assert_eq!(timeline, ["A[0..6]", "A[6..7]", "A[6..7]", "A[6..8]", "A[8..9]"]);
    let mut events = std::iter::from_fn(|| bench.clients[0].stream.as_mut().unwrap().try_next());
    let choice = events.find_map(|event| match event {
        Event::Chosen(choice) => Some(choice),
        _ => None,
    });
    let choice = choice.unwrap();
    assert_eq!(choice.tokens.iter().map(|(token, _)| token.0).collect::<Vec<_>>(), [1, 0]);
    let logprobs = choice.logprobs.unwrap();
    let total: f32 = logprobs.iter().map(|logprob| logprob.exp()).sum();
    assert!(choice.label == 1 && logprobs[2] > logprobs[3] && total < 1.0, "{logprobs:?}");
    assert_eq!(events.filter(|event| matches!(event, Event::Token(_))).count(), 2);
}

#[test]
fn probabilities_that_were_not_requested_are_not_reported() {
    for (temperature, distribution) in [(0.0, false), (1.0, false), (1.0, true)] {
        let mut bench = Bench::new(8);
        let labels = choose(&[&[7, 0], &[1, 0], &[1, 1, 0]], distribution);
        bench.ask(&[5; 6], vec![labels], Traits { temperature, ..Traits::default() });
        bench.drain();
        let mut events = std::iter::from_fn(|| bench.clients[0].stream.as_mut().unwrap().try_next());
        let choice = events.find_map(|event| match event {
            Event::Chosen(choice) => Some(choice),
            _ => None,
        });
        assert_eq!(choice.unwrap().logprobs.is_some(), distribution, "at {temperature}");
    }
}

#[test]
fn a_label_without_a_logit_fails_its_own_request_alone() {
    let mut bench = Bench::new(8);
    let beyond = VOCABULARY as u32;
    bench.ask(&[5; 6], vec![choose(&[&[7], &[beyond]], true)], Traits::default());
    bench.ask(&[6; 4], vec![choose(&[&[7], &[6]], true)], Traits::default());
    bench.drain();
    let [failed, chosen] = [0, 1].map(|client| {
        let stream = bench.clients[client].stream.as_mut().unwrap();
        std::iter::from_fn(|| stream.try_next()).last().unwrap()
    });
    let Event::Failed(Failure::UnknownLabel { token, vocabulary }) = failed else { panic!("{failed:?}") };
    assert_eq!((token, vocabulary), (TokenId(beyond), VOCABULARY));
    assert!(matches!(chosen, Event::Finished(..)), "{chosen:?}");
}

#[test]
fn a_label_that_is_known_at_its_first_token_costs_no_step() {
    let mut bench = Bench::new(8);
    bench.ask(&[5; 6], vec![choose(&[&[7, 0], &[1, 0], &[2, 0]], true)], Traits::default());
    assert_eq!(bench.drain(), 1);
    assert_eq!(bench.outcomes(), [Some((2, 0))]);
}

#[test]
fn text_may_come_before_the_label() {
    let mut bench = Bench::new(8);
    let script =
        vec![Part::Generate(2), Part::Fixed(vec![TokenId(3), TokenId(4)]), choose(&[&[1], &[2]], false)];
    bench.ask(&[5; 6], script, Traits::default());
    let timeline: Vec<String> = std::iter::from_fn(|| bench.step()).collect();
    assert_eq!(timeline, ["A[0..6]", "A[6..7]", "A[7..10]"]);
    assert_eq!(bench.outcomes(), [Some((5, 0))]);
}

#[test]
fn a_piece_that_adds_nothing_leaves_its_last_token_to_the_next_one() {
    let mut bench = Bench::new(8);
    // The text ends at once, since its end token 1 is favoured; rewards add no tokens.
    let ends = Traits { end: Some(1), ..Traits::default() };
    bench.ask(&[5; 6], vec![Part::Generate(3), choose(&[&[2, 0], &[3, 0]], false)], ends);
    bench.ask(&[6; 6], vec![Part::Reward, Part::Reward, Part::Generate(2)], Traits::default());
    let timeline: Vec<String> = std::iter::from_fn(|| bench.step()).collect();
    assert_eq!(timeline, ["A[0..6] B[0..4]", "A[5..6] B[4..6]", "B[5..6]", "B[5..6]", "B[6..7]"]);
    assert_eq!(bench.outcomes(), [Some((2, 0)), Some((2, 0))]);
    assert_eq!(bench.scheduler.free_blocks(), LIMITS.block_count);
}

#[test]
fn a_reward_after_the_last_token_has_a_place_whatever_follows_it() {
    let mut bench = Bench::new(8);
    // The ninth position needs a third block, although the pieces after the reward add none.
    bench.ask(
        &[5; 6],
        vec![Part::Generate(3), Part::Reward, Part::Generate(0), Part::Fixed(Vec::new())],
        Traits::default(),
    );
    bench.drain();
    assert_eq!(bench.outcomes(), [Some((3, 0))]);
}

#[test]
fn room_is_kept_for_scores() {
    let mut bench = Bench::with(Config { max_sequences: 3, max_explaining: 2, ..Config::default() });
    for id in 0..3 {
        bench.enqueue(&[id; 2], 4);
    }
    bench.ask(&[6; 2], vec![choose(&[&[1], &[2]], true)], Traits::default());
    assert_eq!(bench.step().unwrap(), "A[0..2] B[0..2] D[0..2]");
    assert_eq!(bench.step().unwrap(), "A[2..3] B[2..3]");
    bench.drain();
    assert_eq!(bench.outcomes().len(), 4);
}

#[test]
fn what_somebody_waits_for_is_wanted_now() {
    let mut bench = Bench::new(1);
    let traits = |name, urgency| Traits { name: Some(name), urgency, ..Traits::default() };
    bench.ask(&[1; 3], vec![Part::Generate(1)], traits(1, Urgency::Background));
    bench.ask(&[2; 3], vec![Part::Generate(1)], traits(2, Urgency::Background));
    bench.ask(&[2; 3], vec![Part::Generate(1)], traits(2, Urgency::Now));
    assert_eq!(bench.step().unwrap(), "B[0..3]");
    bench.drain();
    assert_eq!(bench.outcomes(), [Some((1, 0)); 3]);
}

#[test]
fn what_an_engine_may_have_died_of_runs_alone_and_lets_nobody_past() {
    let mut bench = Bench::new(8);
    let suspect = Traits { runs_alone: true, ..Traits::default() };
    bench.enqueue(&[1; 3], 2);
    assert_eq!(bench.step().unwrap(), "A[0..3]");
    bench.ask(&[2; 3], vec![Part::Generate(2)], suspect.clone());
    bench.enqueue(&[3; 3], 1);
    bench.ask(&[4; 3], vec![Part::Generate(1)], suspect);
    bench.enqueue(&[5; 3], 1);
    bench.enqueue(&[6; 3], 1);
    let timeline: Vec<String> = std::iter::from_fn(|| bench.step()).collect();
    assert_eq!(timeline, ["A[3..4]", "B[0..3]", "B[3..4]", "C[0..3]", "D[0..3]", "E[0..3] F[0..3]"]);
    assert_eq!(bench.scheduler.take_acquitted(), [Fingerprint([1; 32]), Fingerprint([3; 32])]);
}

#[test]
fn prompts_leave_room_for_those_who_write() {
    let mut bench = Bench::with(Config { max_prefill_tokens: 3, ..Config::default() });
    bench.enqueue(&[1; 4], 3);
    assert_eq!(bench.step().unwrap(), "A[0..4]");
    bench.enqueue(&[2; 12], 1);
    assert_eq!(bench.step().unwrap(), "A[4..5] B[0..3]");
    assert_eq!(bench.step().unwrap(), "A[5..6] B[3..6]");
    assert_eq!(bench.step().unwrap(), "B[6..12]");
}

#[test]
fn steps_are_as_long_as_they_may_last_and_keep_the_device_busy() {
    let limits = Limits { efficient_step_tokens: 4, ..LIMITS };
    let config = Config { step_time: Duration::from_millis(6), ..Config::default() };
    let mut bench = Bench { token_time: Duration::from_millis(1), ..Bench::within(limits, config) };
    bench.enqueue(&[1; 23], 1);
    // A request that arrives while a long prompt is run, and needs fewer steps, is in the next step.
    assert_eq!(bench.step().unwrap(), "A[0..10]");
    bench.enqueue(&[2; 5], 1);
    assert_eq!(bench.step().unwrap(), "B[0..5] A[10..11]");
    assert_eq!(bench.step().unwrap(), "A[11..17]");
    bench.token_time = Duration::from_millis(80);
    assert_eq!(bench.step().unwrap(), "A[17..23]");
    bench.enqueue(&[3; 9], 1);
    assert_eq!(bench.step().unwrap(), "C[0..4]");
}

#[test]
fn nobody_works_for_those_whose_time_is_up() {
    let mut bench = Bench::new(1);
    let deadline = Some(bench.now + Duration::from_secs(1));
    bench.ask(&[1; 12], vec![Part::Generate(3)], Traits { deadline, ..Traits::default() });
    bench.ask(&[2; 12], vec![Part::Generate(3)], Traits { deadline, ..Traits::default() });
    assert_eq!(bench.step().unwrap(), "A[0..10]");
    bench.now += Duration::from_secs(1);
    assert!(bench.step().is_none());
    for client in &mut bench.clients {
        let last = std::iter::from_fn(|| client.stream.as_mut().unwrap().try_next()).last();
        assert!(matches!(last, Some(Event::Failed(Failure::Expired))), "{last:?}");
    }
}

#[test]
fn equal_requests_run_once_and_all_their_clients_hear_everything() {
    let mut bench = Bench::new(8);
    let equal = || Traits { name: Some(1), ..Traits::default() };
    bench.ask(&[1; 6], vec![Part::Generate(3)], equal());
    bench.step();
    bench.ask(&[1; 6], vec![Part::Generate(3)], equal());
    bench.ask(&[1; 6], vec![Part::Generate(3)], equal());
    bench.clients[0].stream = None; // the others keep the work alive
    assert_eq!(bench.step().unwrap(), "A[6..7]");
    bench.drain();
    assert_eq!(bench.outcomes(), [None, Some((3, 0)), Some((3, 0))]);
}
