//! Permits for threads that do a request's work on the CPU, granted to tenants in turn.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use engine::{Tenant, Urgency};
use tokio::sync::oneshot;

/// Permits to keep a core busy with one kind of work. When all are taken, tenants wait in a ring and get one each in
/// turn, so that a tenant does not wait for all earlier requests of another one. Requests of low urgency come last.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    /// Held only to look up or change an entry, never while the work is done.
    line: Arc<Mutex<Line>>,
}

/// A permit, returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    turns: Turns,
}

#[derive(Debug)]
struct Line {
    /// Number of unused permits; 0 while any request waits.
    free: usize,
    now: Ring,
    whenever: Ring,
}

/// Waiting requests by tenant, and the tenants in the order of their turns, each once.
#[derive(Debug, Default)]
struct Ring {
    tenants: VecDeque<Tenant>,
    waiting: HashMap<Tenant, VecDeque<oneshot::Sender<Permit>>>,
}

impl Turns {
    /// A pool of `threads` permits.
    pub(crate) fn new(threads: usize) -> Self {
        let line = Line { free: threads, now: Ring::default(), whenever: Ring::default() };
        Self { line: Arc::new(Mutex::new(line)) }
    }

    /// Waits for a permit. A dropped future loses its place.
    pub(crate) async fn turn(&self, tenant: &Tenant, urgency: Urgency) -> Permit {
        let given = {
            let mut line = self.line();
            if line.free > 0 {
                line.free -= 1;
                return Permit { turns: self.clone() };
            }
            let (give, given) = oneshot::channel();
            let ring = match urgency {
                Urgency::Now => &mut line.now,
                Urgency::Whenever => &mut line.whenever,
            };
            ring.push(tenant, give);
            given
        };
        given.await.expect("the line gives everybody in it a permit")
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next waiting request; if there is none, the permit becomes free.
    fn next(&self) -> Option<oneshot::Sender<Permit>> {
        let mut line = self.line();
        let next = line.now.pop().or_else(|| line.whenever.pop());
        if next.is_none() {
            line.free += 1;
        }
        next
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(next) = self.turns.next() {
            // If the receiver is dropped at this moment, `send` returns the permit, whose drop passes it on.
            drop(next.send(Self { turns: self.turns.clone() }));
        }
    }
}

impl Ring {
    fn push(&mut self, tenant: &Tenant, give: oneshot::Sender<Permit>) {
        if let Some(places) = self.waiting.get_mut(tenant) {
            places.push_back(give);
            return;
        }
        self.waiting.insert(tenant.clone(), VecDeque::from([give]));
        self.tenants.push_back(tenant.clone());
    }

    /// The first request still waiting of the tenant whose turn it is.
    fn pop(&mut self) -> Option<oneshot::Sender<Permit>> {
        while let Some(tenant) = self.tenants.pop_front() {
            let Some(places) = self.waiting.get_mut(&tenant) else { continue };
            let next = std::iter::from_fn(|| places.pop_front()).find(|give| !give.is_closed());
            if places.is_empty() {
                self.waiting.remove(&tenant);
            } else {
                self.tenants.push_back(tenant);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture};

    use super::*;

    /// A request in the queue: its future was polled once.
    fn wait<'a>(turns: &'a Turns, tenant: &str, urgency: Urgency) -> BoxFuture<'a, Permit> {
        let tenant = Tenant(tenant.into());
        let mut turn = async move { turns.turn(&tenant, urgency).await }.boxed();
        assert!((&mut turn).now_or_never().is_none(), "all permits are out");
        turn
    }

    #[test]
    fn tenants_get_one_each_in_turn_and_those_that_may_wait_come_last() {
        let turns = Turns::new(1);
        let mut held = turns.turn(&Tenant::default(), Urgency::Now).now_or_never();
        assert!(held.is_some());
        let names = ["later", "a", "a", "a", "b", "b", "c"];
        let urgency = |name| if name == "later" { Urgency::Whenever } else { Urgency::Now };
        let mut line: Vec<_> =
            names.iter().map(|name| Some((*name, wait(&turns, name, urgency(*name))))).collect();
        // One request leaves the queue.
        line[2] = None;
        let mut order = Vec::new();
        for _ in 0..names.len() - 1 {
            drop(held.take());
            for place in &mut line {
                let Some((name, turn)) = place else { continue };
                if let Some(permit) = turn.now_or_never() {
                    assert!(held.replace(permit).is_none(), "there is one permit");
                    order.push(*name);
                    *place = None;
                }
            }
        }
        assert_eq!(order, ["a", "b", "c", "a", "b", "later"]);
        drop(held);
        assert_eq!(turns.line().free, 1);
        assert!(turns.line().now.waiting.is_empty());
    }

    #[test]
    fn a_permit_whose_owner_left_goes_on() {
        let turns = Turns::new(1);
        let held = turns.turn(&Tenant::default(), Urgency::Now).now_or_never();
        let gone = wait(&turns, "a", Urgency::Now);
        let mut stays = wait(&turns, "a", Urgency::Now);
        // The request gets a permit that it never takes.
        drop(held);
        drop(gone);
        assert!((&mut stays).now_or_never().is_some());
        assert_eq!(turns.line().free, 1);
    }
}
