//! Property tests of the scheduler.

use proptest::prelude::*;

use super::*;

/// A random action on a scheduler.
#[derive(Debug, Clone)]
enum Action {
    Arrive { family: u32, shared: usize, own: usize, output: usize, how: usize },
    Leave { client: usize },
    AllLeave,
    Step,
    Wait,
}

/// Scripts of several kinds; in some of them other pieces add two tokens to the text.
fn script(how: usize, output: usize) -> Vec<Part> {
    let labels = |distribution| choose(&[&[1, 1], &[1, 2], &[2, 1]], distribution);
    match how {
        0 => vec![labels(true)],
        1 => vec![labels(false), Part::Generate(output)],
        2 => vec![Part::Generate(output), Part::Fixed(vec![TokenId(3)]), labels(true)],
        _ => vec![Part::Generate(output)],
    }
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        15 => (0..3u32, 0..20usize, 1..9usize, 1..8usize, 0..6usize)
            .prop_map(|(family, shared, own, output, how)| Action::Arrive { family, shared, own, output, how }),
        5 => (0..40usize).prop_map(|client| Action::Leave { client }),
        1 => Just(Action::AllLeave),
        20 => Just(Action::Step),
        5 => Just(Action::Wait),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    (1..6usize, 0..4usize, 1..8usize, 0..4u64, 1..40u64).prop_map(
        |(max_sequences, max_explaining, max_prefill_tokens, age, step_time)| Config {
            max_sequences,
            max_explaining,
            max_prefill_tokens,
            max_age: Duration::from_secs(age),
            step_time: Duration::from_millis(step_time),
            ..Config::default()
        },
    )
}

/// A request of [`whatever_else_runs_a_request_gets_the_same_tokens`].
#[derive(Debug, Clone)]
struct Asked {
    prompt: Vec<u32>,
    how: usize,
    output: usize,
    temperature: f32,
}

fn asked() -> impl Strategy<Value = Asked> {
    let prompt = proptest::collection::vec(0..3u32, 1..20);
    (prompt, 0..4usize, 1..8usize, prop_oneof![Just(0.0f32), Just(1.5)])
        .prop_map(|(prompt, how, output, temperature)| Asked { prompt, how, output, temperature })
}

/// A token that depends on the whole text.
fn by_the_text(text: &[u32]) -> u32 {
    text.iter().fold(17u32, |sum, token| sum.wrapping_mul(31).wrapping_add(*token)) / 7 % VOCABULARY as u32
}

/// All tokens of every request, indexed as in `asked`, when the requests arrive in `order` at a scheduler with
/// these limits.
fn replies(asked: &[Asked], order: &[usize], (limits, config): (Limits, Config)) -> Vec<Vec<u32>> {
    let token_time = Duration::from_millis(3);
    let mut bench = Bench { favours: by_the_text, token_time, ..Bench::within(limits, config) };
    for (count, index) in order.iter().enumerate() {
        let Asked { prompt, how, output, temperature } = asked[*index].clone();
        bench.ask(&prompt, script(how, output), Traits { temperature, end: Some(7), ..Traits::default() });
        (0..count % 3).for_each(|_| drop(bench.step()));
    }
    bench.drain();
    let mut replies = vec![Vec::new(); asked.len()];
    for (index, client) in order.iter().zip(&mut bench.clients) {
        while let Some(event) = client.stream.as_mut().unwrap().try_next() {
            match event {
                Event::Token(sampled) => replies[*index].push(sampled.token.0),
                Event::Fixed(said) => replies[*index].extend(said.iter().map(|token| token.0)),
                Event::Chosen(choice) => {
                    replies[*index].extend(choice.tokens.iter().map(|(token, _)| token.0));
                    replies[*index].extend(choice.logprobs.iter().flatten().map(|logprob| logprob.to_bits()));
                }
                Event::Admitted { .. } | Event::Reward(_) | Event::Finished(..) | Event::Failed(_) => {}
            }
        }
    }
    replies
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_blocks_are_kept_and_every_request_ends(
        actions in proptest::collection::vec(action(), 1..60),
        config in config(),
    ) {
        let mut bench = Bench::with(config);
        // Whether each request has limited patience, which it shares with no other.
        let mut impatient = Vec::new();
        for action in actions {
            match action {
                Action::AllLeave => {
                    bench.clients.iter_mut().for_each(|client| client.stream = None);
                    prop_assert!(bench.step().is_none(), "nobody is left to work for");
                    prop_assert!(bench.scheduler.is_idle());
                    prop_assert_eq!(bench.scheduler.free_blocks(), LIMITS.block_count);
                }
                Action::Arrive { family, shared, own, output, how } => {
                    let serial = bench.clients.len() as u32;
                    let beginning = (0..shared as u32).map(|index| family * 10 + index);
                    let prompt: Vec<u32> = beginning.chain((0..own as u32).map(|index| 100 + serial + index)).collect();
                    let tenant = ["a", "b"][how % 2];
                    let deadline = (how == 5).then(|| bench.now + Duration::from_secs(3));
                    let queue_timeout = (how == 4).then(|| QueueTimeout::new(bench.now, Duration::from_secs(2)));
                    impatient.push(queue_timeout.is_some());
                    let traits = Traits { tenant, deadline, queue_timeout, ..Traits::default() };
                    bench.ask(&prompt, script(how, output), traits);
                }
                Action::Leave { client } => {
                    let count = bench.clients.len();
                    if count > 0 {
                        bench.clients[client % count].stream = None;
                    }
                }
                Action::Wait => bench.now += Duration::from_secs(1),
                Action::Step => {
                    bench.step();
                }
            }
        }
        bench.drain();
        prop_assert_eq!(bench.scheduler.free_blocks(), LIMITS.block_count);
        let wanted: Vec<_> = bench.clients.iter().map(|client| (client.reply, client.deadline.is_some())).collect();
        for ((outcome, (reply, may_expire)), is_impatient) in bench.outcomes().into_iter().zip(wanted).zip(impatient) {
            let is_right = |tokens| tokens == reply || (may_expire && tokens < reply) || (is_impatient && tokens == 0);
            prop_assert!(outcome.is_none_or(|(tokens, _)| is_right(tokens)));
        }
    }

    #[test]
    fn whatever_else_runs_a_request_gets_the_same_tokens(
        asked in proptest::collection::vec(asked(), 1..8),
        config in config(),
        (max_step_tokens, efficient_step_tokens) in (1..12usize, 1..12usize),
        turn in 0..8usize,
    ) {
        let order: Vec<usize> = (0..asked.len()).collect();
        let alone: Vec<Vec<u32>> = order
            .iter()
            .map(|index| replies(&asked, &[*index], (LIMITS, Config::default())).swap_remove(*index))
            .collect();
        let mut turned = order.clone();
        turned.rotate_left(turn % asked.len());
        turned[turn % asked.len()..].reverse();
        for order in [order, turned] {
            prop_assert_eq!(&replies(&asked, &order, (Limits { max_step_tokens, efficient_step_tokens, ..LIMITS }, config)), &alone);
        }
    }
}
