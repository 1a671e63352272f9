//! Tests of requests in several parts: how they wait for room, and when they are refused.

use std::pin::Pin;

use engine::{Client, Failure, PrepareError, Preparing, QueueTimeout, Ticket, TokenStream};
use futures::{FutureExt, future::join_all};
use tokio::runtime::Runtime;

use super::*;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// An engine with room for one running sequence and one waiting one. It runs a request whose reply has `tokens`
/// tokens; each step waits for the gate.
fn busy(tokens: usize) -> (Bench, TokenStream) {
    let bench = start(true, Config { max_sequences: 1, max_waiting: 1, ..Config::default() });
    let running = bench.engine.submit(request(&[1], tokens)).unwrap();
    wait_for(&bench.engine, |stats| stats.running == 1 && stats.waiting() == 0);
    (bench, running)
}

/// Whether a future waits; it has been polled once then.
fn waits<F: Future>(runtime: &Runtime, future: Pin<&mut F>) -> bool {
    runtime.block_on(async { future.now_or_never() }).is_none()
}

/// The result of a future that must not wait forever; a minute is far more than any machine needs.
fn finish<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await.unwrap() })
}

#[test]
fn the_parts_of_a_request_that_was_let_in_wait_for_room_and_other_requests_are_refused() {
    let bench = start(true, Config { max_sequences: 1, max_waiting: 1, ..Config::default() });
    let running = bench.engine.submit(request(&[1], 3)).unwrap();
    wait_for(&bench.engine, |stats| stats.running == 1 && stats.waiting() == 0);
    let runtime = runtime();
    let ticket = Ticket::default();
    let parts = (2..8).map(|first| bench.engine.submit_part(request(&[first], 1), &ticket));
    let mut parts = Box::pin(join_all(parts));
    // The first part is in the queue, and the others wait for it to leave.
    assert!(runtime.block_on(async { (&mut parts).now_or_never() }).is_none());
    assert_eq!(bench.engine.stats().waiting(), 1);
    // Another request is rejected once, whichever of its parts comes first.
    let refused = Ticket::default();
    for _ in 0..2 {
        let part = runtime.block_on(bench.engine.submit_part(request(&[9], 1), &refused));
        assert!(matches!(part, Err(EngineError::Overloaded { requests: 1, .. })));
    }
    // A patient request waits until its deadline, and is rejected then.
    let patient = Ticket::patient();
    let late = Client { deadline: Some(Instant::now()), ..Client::default() };
    let refused = runtime.block_on(bench.engine.prepare(&patient, &late)).unwrap_err();
    assert!(matches!(refused, PrepareError::Rejected(EngineError::Overloaded { .. })), "{refused}");
    assert_eq!(bench.engine.stats().refused_requests, 2);
    drop(bench.gate);
    for (first, part) in (2..).zip(runtime.block_on(parts)) {
        assert_eq!(collect(part.unwrap()), (vec![first + 1], Ok(FinishReason::Length)));
    }
    assert_eq!(collect(running).0, [2, 3, 4]);
    wait_for(&bench.engine, |stats| stats.free_blocks == stats.total_blocks);
}

#[test]
fn a_part_whose_deadline_passes_before_there_is_room_says_so() {
    let (bench, _running) = busy(3);
    let (runtime, ticket) = (runtime(), Ticket::default());
    let submit = |asked: Request| runtime.block_on(bench.engine.submit_part(asked, &ticket)).unwrap();
    let _first = submit(request(&[2], 1));
    let client = Client { deadline: Some(Instant::now()), ..Client::default() };
    let late = submit(Request { client, ..request(&[3], 1) });
    assert_eq!(collect(late).1, Err("the request ran out of time".into()));
    assert_eq!(bench.engine.stats().refused_requests, 0);
}

/// Two parts of one request that may not wait for any time at all.
fn two_parts() -> [Request; 2] {
    let queue_timeout = QueueTimeout::new(Instant::now(), Duration::ZERO);
    let client = Client { queue_timeout: Some(queue_timeout), ..Client::default() };
    [2, 3].map(|token| Request { client: client.clone(), ..request(&[token], 1) })
}

#[test]
fn a_part_waits_for_as_long_as_it_takes_when_another_one_is_about_to_be_started() {
    let (bench, running) = busy(1);
    let (runtime, ticket) = (runtime(), Ticket::default());
    let [first, second] = two_parts();
    let first = runtime.block_on(bench.engine.submit_part(first, &ticket)).unwrap();
    // Its time is over, but whether the request is refused is decided after the step.
    let mut second = Box::pin(bench.engine.submit_part(second, &ticket));
    assert!(waits(&runtime, second.as_mut()));
    drop(bench.gate);
    let second = finish(&runtime, second).unwrap();
    assert_eq!(collect(running).0, [2]);
    assert_eq!(collect(first), (vec![3], Ok(FinishReason::Length)));
    assert_eq!(collect(second), (vec![4], Ok(FinishReason::Length)));
}

#[test]
fn no_part_is_started_after_another_one_has_timed_out() {
    let (bench, running) = busy(3);
    let (runtime, ticket) = (runtime(), Ticket::default());
    let [first, second] = two_parts();
    let queue_timeout = first.client.queue_timeout.clone();
    let first = runtime.block_on(bench.engine.submit_part(first, &ticket)).unwrap();
    let mut second = Box::pin(bench.engine.submit_part(second, &ticket));
    assert!(waits(&runtime, second.as_mut()));
    bench.gate.send(()).unwrap();
    assert!(collect(first).1.unwrap_err().contains("waited in the queue"));
    // Now there is room for the other part, which comes too late.
    drop(bench.gate);
    assert_eq!(collect(running).0, [2, 3, 4]);
    wait_for(&bench.engine, |stats| stats.running + stats.waiting() == 0);
    assert!(collect(finish(&runtime, second).unwrap()).1.unwrap_err().contains("waited in the queue"));
    // Nor is any other part prepared.
    let client = Client { queue_timeout, ..Client::default() };
    let refused = finish(&runtime, bench.engine.prepare(&ticket, &client)).unwrap_err();
    assert!(matches!(refused, PrepareError::Failed(Failure::QueueTimedOut { .. })), "{refused}");
}

#[test]
fn a_patient_request_that_times_out_before_any_part_is_in_the_queue_is_refused_as_a_whole() {
    let (bench, running) = busy(3);
    let (runtime, ticket) = (runtime(), Ticket::patient());
    let waiting = bench.engine.submit(request(&[9], 1)).unwrap();
    let [first, second] = two_parts();
    let first = finish(&runtime, bench.engine.submit_part(first, &ticket)).unwrap();
    assert!(collect(first).1.unwrap_err().contains("waited in the queue"));
    drop(bench.gate);
    assert_eq!((collect(running).0.len(), collect(waiting).0.len()), (3, 1));
    let second = finish(&runtime, bench.engine.submit_part(second, &ticket)).unwrap();
    assert!(collect(second).1.unwrap_err().contains("waited in the queue"));
    assert_eq!(bench.engine.stats().refused_requests, 0);
}

#[test]
fn nothing_is_prepared_after_the_deadline() {
    let bench = start(false, Config::default());
    let ticket = Ticket::default();
    let prepare = |deadline| {
        let client = Client { deadline: Some(deadline), ..Client::default() };
        finish(&runtime(), bench.engine.prepare(&ticket, &client))
    };
    let kept = prepare(Instant::now() + Duration::from_secs(3600));
    assert!(kept.is_ok());
    assert!(matches!(prepare(Instant::now()), Err(PrepareError::Failed(Failure::Expired))));
}

#[test]
fn a_further_part_is_prepared_when_one_before_it_is_in_the_queue_and_keeps_none_from_joining_it() {
    let (bench, _running) = busy(3);
    let (runtime, ticket, client) = (runtime(), Ticket::default(), Client::default());
    let prepared: Preparing = finish(&runtime, bench.engine.prepare(&ticket, &client)).unwrap();
    let mut further = Box::pin(bench.engine.prepare(&ticket, &client));
    assert!(waits(&runtime, further.as_mut()));
    let first = finish(&runtime, bench.engine.submit_part(request(&[2], 1), &ticket)).unwrap();
    assert!(waits(&runtime, further.as_mut()));
    drop(prepared);
    let further = finish(&runtime, further).unwrap();
    // A deadline ends the wait, and nothing is refused.
    let late = Client { deadline: Some(Instant::now()), ..Client::default() };
    let late = finish(&runtime, bench.engine.prepare(&ticket, &late)).unwrap_err();
    assert!(matches!(late, PrepareError::Failed(Failure::Expired)), "{late}");
    assert_eq!(bench.engine.stats().refused_requests, 0);
    drop((further, bench.gate));
    assert_eq!(collect(first).0, [3]);
}

#[test]
fn a_request_that_waits_for_a_free_sequence_is_prepared_when_one_ends() {
    let (bench, running) = busy(3);
    let (runtime, client) = (runtime(), Client::default());
    let [other, patient] = [Ticket::default(), Ticket::patient()];
    let _other = finish(&runtime, bench.engine.prepare(&other, &client)).unwrap();
    let mut waiting = Box::pin(bench.engine.prepare(&patient, &client));
    assert!(waits(&runtime, waiting.as_mut()));
    // Nothing leaves the queue.
    drop(bench.gate);
    assert!(finish(&runtime, waiting).is_ok());
    assert_eq!(collect(running).0, [2, 3, 4]);
}
