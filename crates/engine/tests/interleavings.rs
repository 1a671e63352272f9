//! Tests of the queue under every interleaving of threads: its own source files, compiled with the locks and
//! atomics of a model checker.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

// Replacements for the modules that these files use from their crate.
mod config {
    pub(crate) use engine::Config;
}
mod error {
    pub(crate) use engine::EngineError;
}
mod request {
    pub(crate) use engine::{Lane, Tenant, Urgency};
}
mod prefix_cache {
    /// The part of a block key that the queue uses.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct BlockKey(pub(crate) u64);

    impl BlockKey {
        pub(crate) fn bits(&self) -> u64 {
            self.0
        }
    }
}
mod sync {
    pub(crate) use loom::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };
    // Loom's `Arc` cannot be a method receiver; reference counting need not be checked here.
    pub(crate) use std::sync::Arc;
}
#[path = "../src/average.rs"]
mod average;
#[path = "../src/queue/backlog.rs"]
#[expect(dead_code, reason = "only what threads share is tried here")]
mod backlog;
#[path = "../src/queue/load.rs"]
mod load;
#[path = "../src/queue/state.rs"]
mod state;
#[path = "../src/queue/ticket.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "only what threads share is tried here, and nobody else uses it"
)]
mod ticket;
#[path = "../src/queue/waiters.rs"]
mod waiters;

use std::{
    pin::pin,
    task::{Context, Wake, Waker},
};

use backlog::{Backlog, NoRoom, Preparation, QueueClient, QueueEntry, QueueSlot};
use engine::{Config, Lane, Tenant, Urgency};
use loom::{sync::Notify, thread};
use prefix_cache::BlockKey;
use sync::Arc;
use ticket::Ticket;
use waiters::Place;

const BLOCK: usize = 4;

fn config(max_waiting: usize, max_waiting_tokens: usize) -> Config {
    Config { max_waiting, max_waiting_tokens, ..Config::default() }
}

fn line() -> Arc<Backlog> {
    Arc::new(Backlog::with_slots(2))
}

fn join(line: &Arc<Backlog>, tokens: usize, keys: &[BlockKey], config: &Config) -> Result<QueueSlot, NoRoom> {
    part(line, &Ticket::default(), (tokens, keys), config)
}

/// A part of the request of `ticket` joins.
fn part(
    line: &Arc<Backlog>,
    ticket: &Ticket,
    (tokens, keys): (usize, &[BlockKey]),
    config: &Config,
) -> Result<QueueSlot, NoRoom> {
    let client =
        QueueClient { ticket, tenant: &Tenant::default(), share: 1.0, urgency: Urgency::Now, place: None };
    line.join(QueueEntry { client, lane: Lane::Score, tokens, keys, block_size: BLOCK }, config)
}

/// A part of the request of `ticket` is prepared, when no sequence is free.
fn prepare(line: &Arc<Backlog>, ticket: &Ticket, config: &Config) -> Result<Preparation, NoRoom> {
    let client =
        QueueClient { ticket, tenant: &Tenant::default(), share: 1.0, urgency: Urgency::Now, place: None };
    line.prepare(client, config, 0)
}

/// A part of the request of `ticket`, which was accepted, joins or takes a place among the waiters.
fn join_or_line_up(
    line: &Arc<Backlog>,
    ticket: &Ticket,
    place: &mut Option<Place>,
    config: &Config,
) -> Option<QueueSlot> {
    let tenant = Tenant::default();
    loop {
        let client =
            QueueClient { ticket, tenant: &tenant, share: 1.0, urgency: Urgency::Now, place: place.as_ref() };
        let entry = QueueEntry { client, lane: Lane::Score, tokens: 1, keys: &[], block_size: BLOCK };
        match line.join(entry, config) {
            Ok(queue_slot) => {
                *place = None;
                return Some(queue_slot);
            }
            Err(NoRoom { waits_for, .. }) => {
                let waits_for = waits_for.expect("an accepted request is not rejected");
                if !Place::take(place, line, waits_for, ticket) {
                    return None;
                }
            }
        }
    }
}

/// Wakes the thread that waits for a part's room.
struct Unpark(Notify);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Waits until a part of the request of `ticket` joins. If it is never woken, the model finds a deadlock.
fn wait(line: &Arc<Backlog>, ticket: &Ticket, mut place: Option<Place>, config: &Config) -> QueueSlot {
    let unpark = Arc::new(Unpark(Notify::new()));
    let waker = Waker::from(unpark.clone());
    loop {
        let mut woken = pin!(ticket.woken());
        if let Some(queue_slot) = join_or_line_up(line, ticket, &mut place, config) {
            return queue_slot;
        }
        while woken.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            unpark.0.wait();
        }
    }
}

/// A queue with one part of each of three requests, beside which no other part finds room until one of these leaves.
/// Parts of the first two requests have places among the waiters, in this order.
struct TwoWait {
    line: Arc<Backlog>,
    config: Config,
    tickets: [Ticket; 2],
    places: [Option<Place>; 2],
    /// The first parts of the two requests.
    first: [QueueSlot; 2],
    leaves: QueueSlot,
}

fn two_wait() -> TwoWait {
    let (line, config) = (line(), config(6, 100));
    let tickets = [Ticket::default(), Ticket::default()];
    let first = [0, 1].map(|index: usize| part(&line, &tickets[index], (1, &[]), &config).unwrap());
    let leaves = join(&line, 1, &[], &config).unwrap();
    let places = [0, 1].map(|index: usize| {
        let mut place = None;
        assert!(join_or_line_up(&line, &tickets[index], &mut place, &config).is_none());
        place
    });
    TwoWait { line, config, tickets, places, first, leaves }
}

/// Two threads join concurrently; returns the places that they got.
fn both_join(line: &Arc<Backlog>, tokens: usize, config: Config) -> Vec<QueueSlot> {
    let other = {
        let line = line.clone();
        thread::spawn(move || join(&line, tokens, &[], &config).ok())
    };
    let own = join(line, tokens, &[], &config).ok();
    [own, other.join().unwrap()].into_iter().flatten().collect()
}

fn is_empty(line: &Backlog) -> bool {
    line.requests() == 0
        && line.parts() == 0
        && line.tokens() == 0
        && line.lane_parts(Lane::Score) == 0
        && line.lane_parts(Lane::Explain) == 0
}

#[test]
fn one_of_two_gets_the_last_place() {
    loom::model(|| {
        let line = line();
        let places = both_join(&line, 1, config(1, 100));
        assert_eq!(places.len(), 1, "neither both nor nobody");
        drop(places);
        assert!(is_empty(&line));
        assert_eq!(line.refused(), (1, 0));
    });
}

#[test]
fn two_that_are_too_large_do_not_both_find_the_line_empty() {
    loom::model(|| {
        let line = line();
        let places = both_join(&line, 500, config(10, 10));
        assert_eq!((places.len(), line.tokens()), (1, 500));
        drop(places);
        assert!(is_empty(&line));
        assert_eq!(line.refused(), (0, 1));
    });
}

#[test]
fn parts_of_one_request_that_come_and_go_count_as_one() {
    loom::model(|| {
        let (line, ticket, config) = (line(), Ticket::default(), config(1, 100));
        let first = part(&line, &ticket, (3, &[]), &config).unwrap();
        let leaving = thread::spawn(move || drop(first));
        // Beside the first part there is no room; after it there always is, since the request was accepted.
        let second = part(&line, &ticket, (3, &[]), &config);
        assert!(second.is_ok() || !ticket.is_refused());
        leaving.join().unwrap();
        assert_eq!(line.requests(), usize::from(second.is_ok()));
        drop(second);
        assert!(part(&line, &ticket, (3, &[]), &config).is_ok());
        assert!(is_empty(&line));
        assert_eq!(line.refused(), (0, 0));
    });
}

#[test]
fn parts_prepared_at_once_are_no_more_than_may_wait() {
    loom::model(|| {
        let (line, ticket, config) = (line(), Ticket::default(), config(2, 100));
        let first = prepare(&line, &ticket, &config).unwrap();
        let other = {
            let (line, ticket) = (line.clone(), ticket.clone());
            thread::spawn(move || prepare(&line, &ticket, &config).ok())
        };
        let own = prepare(&line, &ticket, &config).ok();
        let prepared = [own, other.join().unwrap()].into_iter().flatten().collect::<Vec<_>>();
        assert_eq!((prepared.len(), line.requests()), (1, 1), "neither both nor nobody");
        drop((first, prepared));
        assert!(is_empty(&line) && !ticket.is_refused());
    });
}

#[test]
fn places_come_back_while_others_are_taken() {
    // Three threads have too many interleavings; those with up to three preemptions find nearly all errors.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let line = line();
        let config = config(2, 100);
        let first = join(&line, 3, &[], &config).unwrap();
        let leaving = thread::spawn(move || drop(first));
        let other = {
            let line = line.clone();
            thread::spawn(move || join(&line, 5, &[], &config).map(drop).is_ok())
        };
        let own = join(&line, 7, &[], &config);
        leaving.join().unwrap();
        // With two places and one of them being freed, at least one of the two threads gets in.
        let got_in = other.join().unwrap();
        assert!(got_in || own.is_ok());
        assert_eq!(line.tokens(), if own.is_ok() { 7 } else { 0 });
        drop(own);
        assert!(is_empty(&line));
    });
}

#[test]
fn those_that_wait_get_in_one_after_the_other() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let TwoWait { line, config, tickets, places, first, leaves } = two_wait();
        // There is room for one of the two at a time.
        let waiting = tickets.into_iter().zip(places).map(|(ticket, place)| {
            let line = line.clone();
            thread::spawn(move || drop(wait(&line, &ticket, place, &config)))
        });
        let waiting: Vec<_> = waiting.collect();
        drop(leaves);
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((line.requests(), line.parts()), (2, 2));
        drop(first);
        assert!(is_empty(&line));
    });
}

#[test]
fn a_place_that_is_given_up_while_it_is_called_is_passed_on() {
    loom::model(|| {
        let TwoWait { line, config, tickets, places, first, leaves } = two_wait();
        let leaving = thread::spawn(move || drop(leaves));
        let [given_up, kept] = places;
        drop(given_up);
        let joined = wait(&line, &tickets[1], kept, &config);
        leaving.join().unwrap();
        drop((joined, first));
        assert!(is_empty(&line));
    });
}

#[test]
fn a_name_that_is_forgotten_while_it_is_learnt_costs_no_more_than_its_tokens() {
    loom::model(|| {
        let line = line();
        let config = config(10, 100);
        let key = BlockKey(8);
        line.learn(&key);
        let forgetting = {
            let line = line.clone();
            thread::spawn(move || line.forget(&key))
        };
        let queue_slot = join(&line, 9, &[key], &config).unwrap();
        assert!([5, 9].contains(&line.tokens()), "{}", line.tokens());
        forgetting.join().unwrap();
        drop(queue_slot);
        assert!(is_empty(&line));
    });
}
