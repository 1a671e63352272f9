//! Whose turn it is: of tenants, of prompts long and short, of those that may wait.

use super::*;

#[test]
fn tenants_take_turns_and_the_old_go_first() {
    let mut bench =
        Bench::with(Config { max_sequences: 1, max_age: Duration::from_secs(5), ..Config::default() });
    for id in 0..3 {
        bench.ask(&[id; 4], vec![Part::Write(1)], Traits { tenant: "many", ..Traits::default() });
    }
    bench.ask(&[6; 4], vec![Part::Write(1)], Traits { tenant: "one", ..Traits::default() });
    assert_eq!(bench.step().unwrap(), "A[0..4]");
    assert_eq!(bench.step().unwrap(), "D[0..4]", "a tenant with one request passes one with many");
    bench.ask(&[7; 4], vec![Part::Write(1)], Traits { tenant: "new", ..Traits::default() });
    bench.now += Duration::from_secs(6);
    bench.ask(&[8; 4], vec![Part::Write(1)], Traits { tenant: "last", ..Traits::default() });
    let timeline: Vec<String> = std::iter::from_fn(|| bench.step()).collect();
    assert_eq!(timeline, ["B[0..4]", "C[0..4]", "E[0..4]", "F[0..4]"]);
}

#[test]
fn prompts_of_tenants_are_read_by_turns() {
    let mut bench = Bench::within(Limits { block_count: 40, ..LIMITS }, Config::default());
    let ask = |bench: &mut Bench, tenant, first: u32| {
        let prompt: Vec<u32> = (0..6).map(|place| (first + place) % 8).collect();
        bench.ask(&prompt, vec![Part::Write(1)], Traits { tenant, ..Traits::default() });
    };
    (0..4).for_each(|first| ask(&mut bench, "flood", first));
    assert_eq!(bench.step().unwrap(), "A[0..6] B[0..4]");
    ask(&mut bench, "other", 4);
    assert_eq!(
        bench.step().unwrap(),
        "B[4..6] E[0..6] C[0..2]",
        "behind one of the others and not behind all"
    );
    bench.drain();
}

#[test]
fn a_short_prompt_does_not_wait_for_a_long_one_unless_that_has_waited_long() {
    let limits = Limits { block_count: 60, ..LIMITS };
    let mut bench = Bench::within(limits, Config { max_age: Duration::from_secs(5), ..Config::default() });
    let ask = |bench: &mut Bench, tenant, length: u32| {
        let first = bench.clients.len() as u32;
        let prompt: Vec<u32> = (0..length).map(|place| (first + place * place) % 8).collect();
        bench.ask(&prompt, vec![Part::Write(1)], Traits { tenant, ..Traits::default() });
    };
    ask(&mut bench, "one", 38);
    assert_eq!(bench.step().unwrap(), "A[0..10]");
    ask(&mut bench, "other", 6);
    ask(&mut bench, "one", 7);
    // Of one tenant, too; what is left of the step goes to the long one.
    assert_eq!(bench.step().unwrap(), "B[0..6] C[0..4]");
    assert_eq!(bench.step().unwrap(), "C[4..7] A[10..17]");
    bench.now += Duration::from_secs(6);
    ask(&mut bench, "other", 6);
    assert_eq!(bench.step().unwrap(), "A[17..27]");
    assert_eq!(bench.step().unwrap(), "A[27..37]");
    assert_eq!(bench.step().unwrap(), "A[37..38] D[0..6]");
}

#[test]
fn those_that_may_wait_come_last_and_leave_room() {
    let mut bench =
        Bench::with(Config { max_sequences: 2, max_age: Duration::from_secs(5), ..Config::default() });
    let whenever = || Traits { urgency: Urgency::Whenever, ..Traits::default() };
    for id in [1, 2] {
        bench.ask(&[id; 3], vec![Part::Write(2)], whenever());
    }
    bench.enqueue(&[3; 3], 1);
    // However long they have waited.
    bench.now += Duration::from_secs(60);
    bench.enqueue(&[4; 3], 1);
    let timeline: Vec<String> = std::iter::from_fn(|| bench.step()).collect();
    // C and D first; then A has a half of the room, though there is more.
    assert_eq!(timeline, ["C[0..3] D[0..3]", "A[0..3]", "A[3..4]", "B[0..3]", "B[3..4]"]);

    // Of 12 blocks a quarter is left to others, unless nothing else runs.
    let mut bench = Bench::new(4);
    bench.enqueue(&[1; 4], 4);
    bench.ask(&[2; 20], vec![Part::Write(13)], whenever());
    assert_eq!(bench.step().unwrap(), "A[0..4]");
    bench.enqueue(&[3; 20], 1);
    assert_eq!(bench.step().unwrap(), "A[4..5] C[0..9]");
    bench.drain();
    assert_eq!(
        bench.outcomes().into_iter().flatten().map(|(tokens, _)| tokens).collect::<Vec<_>>(),
        [4, 13, 1]
    );
}
