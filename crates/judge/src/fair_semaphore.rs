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
pub(crate) struct FairSemaphore {
    /// Held only to look up or change an entry, never while the work is done.
    permits: Arc<Mutex<Permits>>,
}

/// A permit, returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    semaphore: FairSemaphore,
}

#[derive(Debug)]
struct Permits {
    /// Number of unused permits; 0 while any request waits.
    free: usize,
    now: Ring,
    background: Ring,
}

/// Waiting requests by tenant, and the tenants in the order of their turns, each once.
#[derive(Debug, Default)]
struct Ring {
    tenants: VecDeque<Tenant>,
    waiting: HashMap<Tenant, VecDeque<oneshot::Sender<Permit>>>,
}

impl FairSemaphore {
    /// A pool of `threads` permits.
    pub(crate) fn new(threads: usize) -> Self {
        let permits = Permits { free: threads, now: Ring::default(), background: Ring::default() };
        Self { permits: Arc::new(Mutex::new(permits)) }
    }

    /// Waits for a permit. A dropped future loses its place.
    pub(crate) async fn acquire(&self, tenant: &Tenant, urgency: Urgency) -> Permit {
        let given = {
            let mut permits = self.permits();
            if permits.free > 0 {
                permits.free -= 1;
                return Permit { semaphore: self.clone() };
            }
            let (give, given) = oneshot::channel();
            let ring = match urgency {
                Urgency::Now => &mut permits.now,
                Urgency::Background => &mut permits.background,
            };
            ring.push(tenant, give);
            given
        };
        given.await.expect("everybody who waits gets a permit")
    }

    fn permits(&self) -> MutexGuard<'_, Permits> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next waiting request; if there is none, the permit becomes free.
    fn next(&self) -> Option<oneshot::Sender<Permit>> {
        let mut permits = self.permits();
        let next = permits.now.pop().or_else(|| permits.background.pop());
        if next.is_none() {
            permits.free += 1;
        }
        next
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(next) = self.semaphore.next() {
            // If the receiver is dropped at this moment, `send` returns the permit, whose drop passes it on.
            drop(next.send(Self { semaphore: self.semaphore.clone() }));
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
    fn wait<'a>(semaphore: &'a FairSemaphore, tenant: &str, urgency: Urgency) -> BoxFuture<'a, Permit> {
        let tenant = Tenant(tenant.into());
        let mut turn = async move { semaphore.acquire(&tenant, urgency).await }.boxed();
        assert!((&mut turn).now_or_never().is_none(), "all permits are out");
        turn
    }

    #[test]
    fn tenants_get_one_each_in_turn_and_those_that_may_wait_come_last() {
        let semaphore = FairSemaphore::new(1);
        let mut held = semaphore.acquire(&Tenant::default(), Urgency::Now).now_or_never();
        assert!(held.is_some());
        let names = ["later", "a", "a", "a", "b", "b", "c"];
        let urgency = |name| if name == "later" { Urgency::Background } else { Urgency::Now };
        let mut permits: Vec<_> =
            names.iter().map(|name| Some((*name, wait(&semaphore, name, urgency(*name))))).collect();
        // One request leaves the queue.
        permits[2] = None;
        let mut order = Vec::new();
        for _ in 0..names.len() - 1 {
            drop(held.take());
            for place in &mut permits {
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
        assert_eq!(semaphore.permits().free, 1);
        assert!(semaphore.permits().now.waiting.is_empty());
    }

    #[test]
    fn a_permit_whose_owner_left_goes_on() {
        let semaphore = FairSemaphore::new(1);
        let held = semaphore.acquire(&Tenant::default(), Urgency::Now).now_or_never();
        let gone = wait(&semaphore, "a", Urgency::Now);
        let mut stays = wait(&semaphore, "a", Urgency::Now);
        // The request gets a permit that it never takes.
        drop(held);
        drop(gone);
        assert!((&mut stays).now_or_never().is_some());
        assert_eq!(semaphore.permits().free, 1);
    }
}
