//! Tests of the order in which parts get room, with one at a time. `tests/interleavings` tests concurrent ones.

use std::{
    sync::Mutex,
    task::{Context, Wake, Waker},
};

use super::{
    backlog::{Backlog, NoRoom, QueueClient, QueueEntry, QueueSlot},
    ticket::Ticket,
    waiters::Place,
};
use crate::{
    config::Config,
    request::{Lane, Tenant, Urgency},
    sync::Arc,
};

/// A queue and its bounds.
struct Queue {
    backlog: Arc<Backlog>,
    config: Config,
}

/// A request of several parts, of which one at a time tries to join.
struct Client {
    name: &'static str,
    tenant: Tenant,
    ticket: Ticket,
    place: Option<Place>,
}

impl Queue {
    fn new(max_waiting: usize, max_waiting_tokens: usize) -> Self {
        let config = Config { max_waiting, max_waiting_tokens, ..Config::default() };
        Self { backlog: Arc::default(), config }
    }
}

impl Client {
    fn new(name: &'static str, ticket: Ticket) -> Self {
        Self { name, tenant: Tenant::default(), ticket, place: None }
    }

    /// A part joins; if it finds no room, it takes a place among the waiters.
    fn join(&mut self, queue: &Queue, tokens: usize) -> Option<QueueSlot> {
        let Queue { backlog, config } = queue;
        loop {
            let Self { ticket, tenant, place, .. } = &*self;
            let client =
                QueueClient { ticket, tenant, share: 1.0, urgency: Urgency::Now, place: place.as_ref() };
            let entry = QueueEntry { client, lane: Lane::Score, tokens, keys: &[], block_size: 4 };
            match backlog.join(entry, config) {
                Ok(queue_slot) => {
                    self.place = None;
                    return Some(queue_slot);
                }
                Err(NoRoom { error, waits_for }) => {
                    let waits_for = waits_for.unwrap_or_else(|| panic!("{} is rejected: {error}", self.name));
                    if !Place::take(&mut self.place, backlog, waits_for, &self.ticket) {
                        return None;
                    }
                }
            }
        }
    }
}

/// Requests in parts with these names, of one tenant.
fn clients<const N: usize>(names: [&'static str; N]) -> [Client; N] {
    names.map(|name| Client::new(name, Ticket::default()))
}

/// Writes a name down when it is woken.
struct Named {
    name: &'static str,
    woken: Arc<Mutex<Vec<&'static str>>>,
}

impl Wake for Named {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().push(self.name);
    }
}

/// The names of those of `clients` that `act` wakes, in order.
fn woken<const N: usize>(clients: [&Client; N], act: impl FnOnce()) -> Vec<&'static str> {
    let names = Arc::new(Mutex::new(Vec::new()));
    let waiting = clients.map(|client| {
        let mut waits = Box::pin(client.ticket.woken());
        let waker = Waker::from(Arc::new(Named { name: client.name, woken: names.clone() }));
        let mut context = Context::from_waker(&waker);
        assert!(waits.as_mut().poll(&mut context).is_pending());
        waits
    });
    act();
    drop(waiting);
    let names = names.lock().unwrap();
    names.clone()
}

#[test]
fn a_small_part_does_not_overtake_a_large_one_that_came_first() {
    // Parts beside the first ones may have half of the 200 tokens.
    let queue = Queue::new(8, 200);
    let [mut large, mut small, mut other] = clients(["large", "small", "other"]);
    let _large = large.join(&queue, 10).unwrap();
    let first_small = small.join(&queue, 10).unwrap();
    let third = other.join(&queue, 10).unwrap();
    assert!(large.join(&queue, 80).is_none());
    assert!(small.join(&queue, 5).is_none(), "there is room for it, but it comes later");
    assert_eq!(woken([&large, &small], || drop(third)), ["large"]);
    let mut joined = None;
    let act = || joined = large.join(&queue, 80);
    assert_eq!(woken([&small], act), ["small"], "there may be room for it too");
    assert!(joined.is_some() && small.join(&queue, 5).is_none());
    assert_eq!(woken([&small], || drop(joined)), ["small"]);
    assert!(small.join(&queue, 5).is_some());
    // One part of each request may always join, whoever waits.
    let _other = other.join(&queue, 150).unwrap();
    assert!(large.join(&queue, 80).is_none());
    drop(first_small);
    assert!(small.join(&queue, 5).is_some());
}

#[test]
fn a_waiter_that_leaves_or_does_not_try_holds_up_nobody() {
    // Four parts may be in the queue beside the first ones.
    let queue = Queue::new(8, 200);
    let [mut a, mut b, mut c, mut d] = clients(["a", "b", "c", "d"]);
    let [_a, first_b, _c, first_d] = [&mut a, &mut b, &mut c, &mut d].map(|one| one.join(&queue, 1).unwrap());
    assert!([&mut a, &mut b, &mut c].map(|one| one.join(&queue, 1)).iter().all(Option::is_none));
    assert_eq!(woken([&a, &b, &c], || drop(first_d)), ["a"]);
    assert_eq!(woken([&b, &c], || a.place = None), ["b"], "what one gives up is passed on");
    let second_b = b.join(&queue, 1).unwrap();
    assert!(c.join(&queue, 1).is_none() && a.join(&queue, 1).is_none());
    assert_eq!(woken([&a, &c], || drop(second_b)), ["c"]);
    // It is not heard of, and the next departure calls the one behind it.
    assert_eq!(woken([&a, &c], || drop(first_b)), ["a"]);
    let _second_a = a.join(&queue, 1).unwrap();
    let _second_c = c.join(&queue, 1).unwrap();
}

#[test]
fn all_are_called_when_nothing_is_left_that_could_call_them() {
    let queue = Queue::new(1, 200);
    let [mut before] = clients(["before"]);
    let last = before.join(&queue, 1).unwrap();
    let [mut first, mut second] = ["first", "second"].map(|name| Client::new(name, Ticket::patient()));
    assert!(first.join(&queue, 1).is_none() && second.join(&queue, 1).is_none());
    assert_eq!(woken([&first, &second], || drop(last)), ["first", "second"]);
    // Nobody waits for one that is not heard of.
    let _second = second.join(&queue, 1).unwrap();
    assert!(first.join(&queue, 1).is_none());
}

#[test]
fn tenants_take_turns_and_do_not_wait_for_each_other() {
    let queue = Queue::new(10, 200);
    let of = |tenant: &str, client: Client| Client { tenant: Tenant(tenant.into()), ..client };
    let [x1, x2, y, z1, z2] = clients(["x1", "x2", "y", "z1", "z2"]);
    let [mut x1, mut x2, mut y] = [of("x", x1), of("x", x2), of("y", y)];
    let [mut z1, mut z2] = [of("z", z1), of("z", z2)];
    let [_x1, _x2, _y] = [&mut x1, &mut x2, &mut y].map(|one| one.join(&queue, 1).unwrap());
    let [first_z1, first_z2] = [&mut z1, &mut z2].map(|one| one.join(&queue, 1).unwrap());
    assert!([&mut x1, &mut x2, &mut y].map(|one| one.join(&queue, 1)).iter().all(Option::is_none));
    assert_eq!(woken([&x1, &x2, &y], || drop(first_z1)), ["x1", "y"]);
    let _second = x1.join(&queue, 1).unwrap();
    assert!(y.join(&queue, 1).is_none() && x2.join(&queue, 1).is_none());
    assert_eq!(woken([&x1, &x2, &y], || drop(first_z2)), ["y", "x2"], "the other tenant is next");
    let _third = y.join(&queue, 1).unwrap();
    assert!(x2.join(&queue, 1).is_none());
}
