//! Tests of the order of admission: between tenants, between long and short prompts, and for sequences of low urgency.

use super::*;

#[test]
fn tenants_take_turns_and_the_old_go_first() {
    let mut bench =
        Bench::with(Config { max_sequences: 1, max_age: Duration::from_secs(5), ..Config::default() });
    for id in 0..3 {
        bench.ask(&[id; 4], vec![Part::Generate(1)], Traits { tenant: "many", ..Traits::default() });
    }
    bench.ask(&[6; 4], vec![Part::Generate(1)], Traits { tenant: "one", ..Traits::default() });
    assert_eq!(bench.step().unwrap(), "A[0..4]");
    assert_eq!(bench.step().unwrap(), "D[0..4]", "a tenant with one request passes one with many");
    bench.ask(&[7; 4], vec![Part::Generate(1)], Traits { tenant: "new", ..Traits::default() });
    bench.now += Duration::from_secs(6);
    bench.ask(&[8; 4], vec![Part::Generate(1)], Traits { tenant: "last", ..Traits::default() });
    let timeline: Vec<String> = std::iter::from_fn(|| bench.step()).collect();
    assert_eq!(timeline, ["B[0..4]", "C[0..4]", "E[0..4]", "F[0..4]"]);
}

#[test]
fn prompts_of_tenants_are_read_by_turns() {
    let mut bench = Bench::within(Limits { block_count: 40, ..LIMITS }, Config::default());
    let ask = |bench: &mut Bench, tenant, first: u32| {
        let prompt: Vec<u32> = (0..6).map(|queue_slot| (first + queue_slot) % 8).collect();
        bench.ask(&prompt, vec![Part::Generate(1)], Traits { tenant, ..Traits::default() });
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
        let prompt: Vec<u32> = (0..length).map(|queue_slot| (first + queue_slot * queue_slot) % 8).collect();
        bench.ask(&prompt, vec![Part::Generate(1)], Traits { tenant, ..Traits::default() });
    };
    ask(&mut bench, "one", 38);
    assert_eq!(bench.step().unwrap(), "A[0..10]");
    ask(&mut bench, "other", 6);
    ask(&mut bench, "one", 7);
    // This holds within one tenant too; the rest of the step is used for the long prompt.
    assert_eq!(bench.step().unwrap(), "B[0..6] C[0..4]");
    assert_eq!(bench.step().unwrap(), "C[4..7] A[10..17]");
    bench.now += Duration::from_secs(6);
    ask(&mut bench, "other", 6);
    assert_eq!(bench.step().unwrap(), "A[17..27]");
    assert_eq!(bench.step().unwrap(), "A[27..37]");
    assert_eq!(bench.step().unwrap(), "A[37..38] D[0..6]");
}

#[test]
fn a_prompt_that_may_wait_does_not_grow_old() {
    let limits = Limits { block_count: 60, ..LIMITS };
    let mut bench = Bench::within(limits, Config { max_age: Duration::from_secs(5), ..Config::default() });
    let prompt: Vec<u32> = (0..38).map(|place| place * place % 8).collect();
    let background = Traits { urgency: Urgency::Background, ..Traits::default() };
    bench.ask(&prompt, vec![Part::Generate(1)], background);
    assert_eq!(bench.step().unwrap(), "A[0..10]");
    bench.now += Duration::from_secs(6);
    bench.enqueue(&[7; 6], 1);
    assert_eq!(bench.step().unwrap(), "B[0..6] A[10..14]");
    bench.drain();
}

#[test]
fn a_tenant_that_runs_leaves_memory_for_others_who_came_lately() {
    // Each request takes three of 24 blocks.
    let mut bench = Bench::within(Limits { block_count: 24, ..LIMITS }, Config::default());
    let ask = |bench: &mut Bench, tenant| {
        let serial = bench.clients.len() as u32;
        let prompt: Vec<u32> =
            (0..8).map(|queue_slot| (serial >> (queue_slot % 4 * 2) & 3) + queue_slot / 4).collect();
        bench.ask(&prompt, vec![Part::Generate(4)], Traits { tenant, ..Traits::default() });
    };
    let flood = |bench: &mut Bench| {
        (0..12).for_each(|_| ask(bench, "flood"));
        bench.step();
        bench.scheduler.running_count()
    };
    assert_eq!(flood(&mut bench), 8, "all of it where nobody else is");
    bench.drain();
    ask(&mut bench, "other");
    bench.drain();
    assert_eq!(flood(&mut bench), 7, "memory for one is left");
    ask(&mut bench, "other");
    bench.step();
    let other = bench.clients.len() as u64 - 1;
    let runs = |bench: &Bench| bench.scheduler.running.iter().any(|sequence| sequence.id().0 == other);
    assert!(runs(&bench), "whoever comes runs at once");
    bench.drain();
    bench.now += Duration::from_secs(11);
    assert_eq!(flood(&mut bench), 8, "nobody else came for long");
    bench.drain();
}

#[test]
fn those_that_may_wait_come_last_and_leave_room() {
    let mut bench =
        Bench::with(Config { max_sequences: 2, max_age: Duration::from_secs(5), ..Config::default() });
    let background = || Traits { urgency: Urgency::Background, ..Traits::default() };
    for id in [1, 2] {
        bench.ask(&[id; 3], vec![Part::Generate(2)], background());
    }
    bench.enqueue(&[3; 3], 1);
    // Even after a long wait.
    bench.now += Duration::from_secs(60);
    bench.enqueue(&[4; 3], 1);
    let timeline: Vec<String> = std::iter::from_fn(|| bench.step()).collect();
    // C and D first; then A gets half of the slots, though more are free.
    assert_eq!(timeline, ["C[0..3] D[0..3]", "A[0..3]", "A[3..4]", "B[0..3]", "B[3..4]"]);

    // A quarter of the 12 blocks stays free for others, unless nothing else runs.
    let mut bench = Bench::new(4);
    bench.enqueue(&[1; 4], 4);
    bench.ask(&[2; 20], vec![Part::Generate(13)], background());
    assert_eq!(bench.step().unwrap(), "A[0..4]");
    bench.enqueue(&[3; 20], 1);
    assert_eq!(bench.step().unwrap(), "A[4..5] C[0..9]");
    bench.drain();
    assert_eq!(
        bench.outcomes().into_iter().flatten().map(|(tokens, _)| tokens).collect::<Vec<_>>(),
        [4, 13, 1]
    );
}

#[test]
fn who_is_not_begun_in_time_is_refused_and_who_is_begun_in_part_waits_on() {
    let mut bench = Bench::new(2);
    let queue_timeout = || QueueTimeout::new(Instant::now(), Duration::from_secs(1));
    let in_parts = Traits { queue_timeout: Some(queue_timeout()), ..Traits::default() };
    let alone = Traits { queue_timeout: Some(queue_timeout()), ..Traits::default() };
    let equal = |queue_timeout| Traits { name: Some(1), queue_timeout, ..Traits::default() };
    let with_an_equal = queue_timeout();
    bench.ask(&[1; 6], vec![Part::Generate(9)], equal(None));
    bench.ask(&[2; 6], vec![Part::Generate(9)], in_parts.clone());
    bench.step();
    bench.ask(&[3; 6], vec![Part::Generate(2)], alone);
    bench.ask(&[4; 6], vec![Part::Generate(2)], in_parts);
    bench.ask(&[1; 6], vec![Part::Generate(9)], equal(Some(with_an_equal.clone())));
    bench.ask(
        &[5; 6],
        vec![Part::Generate(2)],
        Traits { queue_timeout: Some(with_an_equal), ..Traits::default() },
    );
    bench.step();
    assert_eq!(bench.scheduler.waiting.len(), 3);
    bench.now += Duration::from_secs(2);
    bench.step();
    let last = |client: &mut Client| {
        std::iter::from_fn(|| client.stream.as_mut().unwrap().try_next()).last().unwrap()
    };
    let refused = last(&mut bench.clients[2]);
    let Event::Failed(Failure::QueueTimedOut { most, retry_after_s }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((most, retry_after_s), (Duration::from_secs(1), 1));
    // Where there is room, the waiting time does not matter.
    bench.drain();
    bench.ask(
        &[6; 6],
        vec![Part::Generate(2)],
        Traits { queue_timeout: Some(queue_timeout()), ..Traits::default() },
    );
    bench.drain();
    for client in [0, 1, 3, 4, 5, 6] {
        assert!(matches!(last(&mut bench.clients[client]), Event::Finished(..)), "{client}");
    }
    let mut endings: Vec<Ending> = bench.scheduler.take_ended().iter().map(|report| report.ending).collect();
    endings.retain(|ending| *ending != Ending::Finished);
    assert_eq!(endings, [Ending::QueueTimedOut]);
}

#[test]
fn a_part_that_comes_after_its_request_was_refused_is_not_started() {
    let mut bench = Bench::new(1);
    let queue_timeout = Some(QueueTimeout::new(bench.now, Duration::from_secs(1)));
    let in_parts = Traits { queue_timeout, ..Traits::default() };
    let equal = Traits { name: Some(1), ..Traits::default() };
    bench.ask(&[1; 6], vec![Part::Generate(9)], equal.clone());
    bench.step();
    bench.ask(&[2; 6], vec![Part::Generate(2)], in_parts.clone());
    bench.step();
    bench.now += Duration::from_secs(2);
    bench.step();
    // Neither beside an equal request, which is running, nor when there is room.
    bench.ask(&[1; 6], vec![Part::Generate(9)], Traits { name: Some(1), ..in_parts.clone() });
    bench.drain();
    bench.ask(&[3; 6], vec![Part::Generate(2)], in_parts);
    assert!(bench.step().is_none());
    for client in &mut bench.clients[1..] {
        let events: Vec<Event> = std::iter::from_fn(|| client.stream.as_mut().unwrap().try_next()).collect();
        assert!(
            matches!(events[..], [Event::Failed(Failure::QueueTimedOut { .. })]),
            "{:?} got {events:?}",
            client.prompt
        );
    }
    let endings: Vec<Ending> = bench.scheduler.take_ended().iter().map(|report| report.ending).collect();
    let timed_out = Ending::QueueTimedOut;
    assert_eq!(endings, [timed_out, timed_out, Ending::Finished, timed_out]);
}

/// Records whether a request has begun when this is woken.
struct Woken {
    queue_timeout: QueueTimeout,
    has_begun: std::sync::Mutex<Option<bool>>,
}

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        let late = Instant::now() + Duration::from_secs(9);
        *self.has_begun.lock().unwrap() = Some(self.queue_timeout.time_out(late).is_none());
    }
}

#[test]
fn whoever_waits_for_the_place_of_a_request_finds_that_it_has_begun() {
    let mut bench = Bench::new(1);
    let backlog = bench.scheduler.backlog.clone();
    let (ticket, tenant) = (Ticket::default(), Tenant::default());
    let client =
        QueueClient { ticket: &ticket, tenant: &tenant, share: 1.0, urgency: Urgency::Now, place: None };
    let entry = QueueEntry { client, lane: Lane::Explain, tokens: 6, keys: &[], block_size: 4 };
    bench.queue_slot = Some(backlog.join(entry, &bench.scheduler.config).unwrap());
    let queue_timeout = QueueTimeout::new(bench.now, Duration::from_secs(1));
    let traits = Traits { queue_timeout: Some(queue_timeout.clone()), ..Traits::default() };
    bench.ask(&[1; 6], vec![Part::Generate(1)], traits);
    let woken = Arc::new(Woken { queue_timeout, has_begun: std::sync::Mutex::default() });
    let mut wakes = std::pin::pin!(ticket.woken());
    assert!(wakes.as_mut().poll(&mut std::task::Context::from_waker(&woken.clone().into())).is_pending());
    bench.step();
    assert_eq!(*woken.has_begun.lock().unwrap(), Some(true));
}
