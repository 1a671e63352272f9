//! Those that wait for room, and the order in which they get it.
//!
//! Waiters are in queues, one for each tenant, urgency and kind of room, so that none waits behind another one that
//! needs something else. In a queue room is taken in order of arrival. A departure calls the first waiter, which
//! wakes its request to try; whoever leaves the queue, with room or without, calls the next one. As long as the first
//! one finds too little room, those behind it take none, so that a small part does not overtake a large one again and
//! again. A departure thus wakes one request of each queue, however many wait.
//!
//! A waiter that was called and has not tried since does not hold up those behind it, but keeps its place. Its task
//! may not run, for example because it computes the stream of a client that does not read.
//!
//! The number of waiters is not limited here. A ticket has at most two, one that waits to be prepared and one that
//! waits to join the queue, since its parts take turns at either. They end with the requests that the server handles.

use std::collections::BTreeMap;

use super::{backlog::Backlog, load::Room, ticket::Ticket};
use crate::{
    request::{Tenant, Urgency},
    sync::Arc,
};

/// What is waited for; equal values share a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaitsFor {
    pub(crate) tenant: Tenant,
    pub(crate) urgency: Urgency,
    pub(crate) room: Room,
}

/// All waiters.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// None of them is empty.
    queues: BTreeMap<WaitsFor, WaitQueue>,
    /// The number given last. Numbers are given in ascending order, from 1.
    last: u64,
}

/// The waiters that need the same kind of room.
#[derive(Debug)]
struct WaitQueue {
    /// The queue with the lowest number is called first; the number is renewed when a waiter leaves, so that tenants
    /// take turns.
    turn: u64,
    /// By their numbers, and so in order of arrival.
    waiters: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    /// Whether it was called and has not tried since.
    is_called: bool,
}

/// A place in a queue of waiters; dropping it gives it up, and calls the next waiter.
#[derive(Debug)]
pub(crate) struct Place {
    backlog: Arc<Backlog>,
    waits_for: WaitsFor,
    number: u64,
}

impl Waiters {
    /// Whether a waiter at `place`, or a new one without a place, may take room: all before it were called.
    pub(crate) fn may_take(&self, waits_for: &WaitsFor, place: Option<&Place>) -> bool {
        let own = place.filter(|place| place.waits_for == *waits_for).map_or(u64::MAX, |place| place.number);
        let queue = self.queues.get(waits_for);
        queue.is_none_or(|queue| queue.waiters.range(..own).all(|(_, waiter)| waiter.is_called))
    }

    /// Records that the waiter at `place` tried in vain, and waits to be called.
    pub(crate) fn note_failure(&mut self, place: &Place) {
        let queue = self.queues.get_mut(&place.waits_for);
        if let Some(waiter) = queue.and_then(|queue| queue.waiters.get_mut(&place.number)) {
            waiter.is_called = false;
        }
    }

    /// Calls the first waiter of each queue, or everybody; returns the tickets to wake, in this order.
    pub(crate) fn call(&mut self, everybody: bool) -> Vec<Ticket> {
        let most = if everybody { usize::MAX } else { 1 };
        let mut queues: Vec<&mut WaitQueue> = self.queues.values_mut().collect();
        queues.sort_unstable_by_key(|queue| queue.turn);
        queues.into_iter().flat_map(|queue| queue.call(most)).collect()
    }

    /// Adds a waiter behind all others of its queue; returns its number.
    fn add(&mut self, waits_for: WaitsFor, ticket: Ticket) -> u64 {
        let number = self.next_number();
        let new = || WaitQueue { turn: number, waiters: BTreeMap::new() };
        let queue = self.queues.entry(waits_for).or_insert_with(new);
        queue.waiters.insert(number, Waiter { ticket, is_called: false });
        number
    }

    /// Removes a waiter and calls the next one; returns the tickets to wake.
    fn remove(&mut self, waits_for: &WaitsFor, number: u64) -> Vec<Ticket> {
        let turn = self.next_number();
        let Some(queue) = self.queues.get_mut(waits_for) else { return Vec::new() };
        queue.waiters.remove(&number);
        queue.turn = turn;
        let called = queue.call(1);
        if queue.waiters.is_empty() {
            self.queues.remove(waits_for);
        }
        called
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl WaitQueue {
    /// Calls the first waiters that are not called yet, at most `most`; returns their tickets.
    fn call(&mut self, most: usize) -> Vec<Ticket> {
        let waiters = self.waiters.values_mut().filter(|waiter| !waiter.is_called).take(most);
        waiters
            .map(|waiter| {
                waiter.is_called = true;
                waiter.ticket.clone()
            })
            .collect()
    }
}

impl Place {
    /// Changes `place` to one in the queue for `waits_for`, behind all others, unless it is in that queue already;
    /// returns whether it has changed. Whoever has a new place must try again: what left before that called others.
    pub(crate) fn take(
        place: &mut Option<Self>,
        backlog: &Arc<Backlog>,
        waits_for: WaitsFor,
        ticket: &Ticket,
    ) -> bool {
        if place.as_ref().is_some_and(|place| place.waits_for == waits_for) {
            return false;
        }
        let number = backlog.queue().waiters.add(waits_for.clone(), ticket.clone());
        *place = Some(Self { backlog: backlog.clone(), waits_for, number });
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let called = self.backlog.queue().waiters.remove(&self.waits_for, self.number);
        called.iter().for_each(Ticket::wake);
    }
}
