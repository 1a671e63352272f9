//! The scheduler over a memory that remembers which token each slot holds.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use critic::{Chunk, Encoded, SamplingParams, SequenceId, TokenId};
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;
use crate::{engine::Request, stream::TokenStream};

const LIMITS: Limits = Limits { block_size: 4, block_count: 12, context_length: 40, max_step_tokens: 10 };
const VOCABULARY: usize = 8;

/// What a request looked like, and its stream while the client listens.
struct Client {
    prompt: Vec<u32>,
    max_new_tokens: usize,
    stream: Option<TokenStream>,
}

/// A scheduler, the tokens in its blocks, and its clients by the number of their sequence.
struct Bench {
    scheduler: Scheduler,
    memory: HashMap<(u32, usize), u32>,
    clients: Vec<Client>,
}

impl Bench {
    fn new(max_sequences: usize) -> Self {
        let config = Config { max_sequences, max_waiting: 100 };
        Self { scheduler: Scheduler::new(LIMITS, config), memory: HashMap::new(), clients: Vec::new() }
    }

    fn enqueue(&mut self, prompt: &[u32], max_new_tokens: usize) {
        let request = Request {
            encoded: Encoded { tokens: prompt.iter().map(|id| TokenId(*id)).collect(), visuals: Vec::new() },
            sampling: SamplingParams::default(),
            max_new_tokens,
            end_tokens: Vec::new(),
            beginnings: Vec::new(),
        };
        let (events, receiver) = mpsc::channel(max_new_tokens + 2);
        let id = SequenceId(self.clients.len() as u64);
        self.scheduler.enqueue(Sequence::new(id, request, LIMITS.block_size, events));
        let stream = Some(TokenStream::new(receiver));
        self.clients.push(Client { prompt: prompt.to_vec(), max_new_tokens, stream });
    }

    /// Runs one step, checking that every chunk finds in its blocks what its sequence has said so far. Tells what ran.
    fn step(&mut self) -> Option<String> {
        let batch = self.scheduler.schedule()?;
        assert!(batch.token_count() <= LIMITS.max_step_tokens);
        assert!(!batch.chunks.is_empty());
        let mut written = Vec::new();
        let mut line = String::new();
        for chunk in &batch.chunks {
            self.check_and_write(chunk, &mut written);
            write!(line, " {}[{}..{}]", (b'A' + chunk.sequence.0 as u8) as char, chunk.start, chunk.end())
                .unwrap();
        }
        let rows = batch.chunks.iter().filter(|chunk| chunk.wants_logits);
        let rows: Vec<Logits> =
            rows.map(|_| (0..VOCABULARY).map(|id| f32::from(id == 1)).collect()).collect();
        self.scheduler.commit(&batch, rows);
        assert!(self.scheduler.is_whole());
        Some(line.trim_start().to_owned())
    }

    fn check_and_write(&mut self, chunk: &Chunk, written: &mut Vec<(u32, usize)>) {
        let client = &self.clients[chunk.sequence.0 as usize];
        let said = |position: usize| client.prompt.get(position).copied().unwrap_or(1);
        let slot = |position: usize| (chunk.block_table[position / 4].0, position % 4);
        for position in 0..chunk.start {
            assert_eq!(
                self.memory.get(&slot(position)),
                Some(&said(position)),
                "position {position} of {chunk:?}"
            );
        }
        for (offset, token) in chunk.tokens.iter().enumerate() {
            let position = chunk.start + offset;
            assert_eq!(token.0, said(position));
            assert!(!written.contains(&slot(position)), "two sequences write one slot");
            written.push(slot(position));
            self.memory.insert(slot(position), token.0);
        }
    }

    /// Steps until nothing is left; tells how many steps it took.
    fn drain(&mut self) -> usize {
        let most: usize = self.clients.iter().map(|client| client.prompt.len() + client.max_new_tokens).sum();
        let mut steps = 0;
        while self.step().is_some() {
            steps += 1;
            assert!(steps <= most, "no progress");
        }
        steps
    }

    /// How many tokens each client got, and how many of its prompt were cached; `None` for those that left.
    fn outcomes(&mut self) -> Vec<Option<(usize, usize)>> {
        let outcome = |stream: &mut TokenStream| {
            let (mut tokens, mut cached, mut finished) = (0, 0, false);
            while let Some(event) = stream.try_next() {
                match event {
                    Event::Admitted { cached_tokens } => cached = cached_tokens,
                    Event::Token(_) => tokens += 1,
                    Event::Finished(_) => finished = true,
                    Event::Failed(failure) => panic!("{failure}"),
                }
            }
            assert!(finished, "every request ends");
            (tokens, cached)
        };
        self.clients.iter_mut().map(|client| client.stream.as_mut().map(outcome)).collect()
    }
}

#[test]
fn followers_wait_for_their_leader_and_start_after_the_shared_beginning() {
    let mut bench = Bench::new(8);
    let shared: Vec<u32> = (0..16).map(|id| id % 7).collect();
    for ending in [[5, 0], [6, 0], [7, 0]] {
        bench.enqueue(&[&shared[..], &ending].concat(), 2);
    }
    bench.enqueue(&[7, 7, 7], 1);
    let timeline: Vec<String> = std::iter::from_fn(|| bench.step()).collect();
    // A leads. D shares nothing and passes B and C, which start at 16 once A has computed the blocks up to there.
    assert_eq!(
        timeline,
        ["A[0..10]", "A[10..18] D[0..2]", "A[18..19] D[2..3] B[16..18] C[16..18]", "B[18..19] C[18..19]"]
    );
    assert_eq!(bench.outcomes(), [Some((2, 0)), Some((2, 16)), Some((2, 16)), Some((1, 0))]);
    assert_eq!((bench.scheduler.free_blocks(), bench.scheduler.cached_blocks()), (12, 4));
}

#[test]
fn a_follower_leads_when_its_leader_leaves() {
    let mut bench = Bench::new(8);
    let shared: Vec<u32> = (0..16).map(|id| id % 7).collect();
    bench.enqueue(&shared, 4);
    bench.enqueue(&shared, 4);
    assert_eq!(bench.step().unwrap(), "A[0..10]");
    bench.clients[0].stream = None;
    assert_eq!(bench.step().unwrap(), "B[8..16]");
    bench.drain();
    assert_eq!(bench.outcomes()[1], Some((4, 8)));
}

#[test]
fn kept_blocks_give_way_to_running_sequences() {
    let mut bench = Bench::new(8);
    for id in 0..4 {
        bench.enqueue(&[id; 20], 1);
        bench.drain();
    }
    assert!(bench.scheduler.cached_blocks() >= 8);
    bench.enqueue(&[7; 30], 10);
    bench.drain();
    bench.enqueue(&[7; 30], 1);
    bench.drain();
    assert_eq!(bench.outcomes()[4..], [Some((10, 0)), Some((1, 28))]);
}

#[test]
fn a_failed_step_leaves_nothing_behind() {
    let mut bench = Bench::new(8);
    bench.enqueue(&[1; 20], 2);
    bench.enqueue(&[2; 20], 2);
    assert!(bench.scheduler.schedule().is_some());
    bench.scheduler.fail(&Failure(Arc::new(critic::BackendError::NonFinite)));
    assert_eq!((bench.scheduler.running_count(), bench.scheduler.cached_blocks()), (1, 0));
    bench.clients[0].stream = None;
    bench.drain();
    assert_eq!(bench.outcomes(), [None, Some((2, 0))]);
}

/// One thing that happens to a scheduler.
#[derive(Debug, Clone)]
enum Action {
    Arrive { family: u32, shared: usize, own: usize, output: usize },
    Leave { client: usize },
    Step,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (0..3u32, 0..20usize, 1..9usize, 1..8usize)
            .prop_map(|(family, shared, own, output)| Action::Arrive { family, shared, own, output }),
        1 => (0..40usize).prop_map(|client| Action::Leave { client }),
        4 => Just(Action::Step),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_blocks_are_kept_and_every_request_ends(
        actions in proptest::collection::vec(action(), 1..60),
        max_sequences in 1..6usize,
    ) {
        let mut bench = Bench::new(max_sequences);
        for action in actions {
            match action {
                Action::Arrive { family, shared, own, output } => {
                    let serial = bench.clients.len() as u32;
                    let beginning = (0..shared as u32).map(|index| family * 10 + index);
                    let prompt: Vec<u32> = beginning.chain((0..own as u32).map(|index| 100 + serial + index)).collect();
                    bench.enqueue(&prompt, output);
                }
                Action::Leave { client } => {
                    let count = bench.clients.len();
                    if count > 0 {
                        bench.clients[client % count].stream = None;
                    }
                }
                Action::Step => {
                    bench.step();
                    prop_assert!(bench.scheduler.running_count() <= max_sequences);
                }
            }
        }
        bench.drain();
        prop_assert_eq!(bench.scheduler.free_blocks(), LIMITS.block_count);
        let wanted: Vec<usize> = bench.clients.iter().map(|client| client.max_new_tokens).collect();
        for (outcome, wanted) in bench.outcomes().into_iter().zip(wanted) {
            prop_assert!(outcome.is_none_or(|(tokens, _)| tokens == wanted));
        }
    }
}
