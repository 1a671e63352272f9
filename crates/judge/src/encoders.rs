//! Threads on which prompts are made ready, given out by turns.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use engine::{Tenant, Urgency};
use tokio::sync::oneshot;

/// Permits to keep a core busy with a prompt. When all are out, tenants wait in a ring and get one each in turn, so that nobody
/// waits for all the prompts that another one brought before; those that may wait come last.
#[derive(Debug, Clone)]
pub(crate) struct Encoders {
    /// Held to look up and change a place, never while anything runs.
    line: Arc<Mutex<Line>>,
}

/// A permit that is out, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    encoders: Encoders,
}

#[derive(Debug)]
struct Line {
    /// Permits that nobody has; there are none while somebody waits.
    free: usize,
    now: Ring,
    whenever: Ring,
}

/// Tenants in the order of their turns, each once, and those who wait for them.
#[derive(Debug, Default)]
struct Ring {
    tenants: VecDeque<Tenant>,
    waiting: HashMap<Tenant, VecDeque<oneshot::Sender<Permit>>>,
}

impl Encoders {
    /// As many permits as `threads`.
    pub(crate) fn new(threads: usize) -> Self {
        let line = Line { free: threads, now: Ring::default(), whenever: Ring::default() };
        Self { line: Arc::new(Mutex::new(line)) }
    }

    /// Waits for a turn. Whoever stops waiting is passed over.
    pub(crate) async fn turn(&self, tenant: &Tenant, urgency: Urgency) -> Permit {
        let given = {
            let mut line = self.line();
            if line.free > 0 {
                line.free -= 1;
                return Permit { encoders: self.clone() };
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

    /// Who is next; nobody makes a permit free.
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
        if let Some(next) = self.encoders.next() {
            // Where somebody leaves at this very moment the permit comes back, and is passed on from there.
            drop(next.send(Self { encoders: self.encoders.clone() }));
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

    /// The first of the tenant whose turn it is, who still waits.
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

    /// Somebody in line: asked once, and so in it.
    fn wait<'a>(encoders: &'a Encoders, tenant: &str, urgency: Urgency) -> BoxFuture<'a, Permit> {
        let tenant = Tenant(tenant.into());
        let mut turn = async move { encoders.turn(&tenant, urgency).await }.boxed();
        assert!((&mut turn).now_or_never().is_none(), "all permits are out");
        turn
    }

    #[test]
    fn tenants_get_one_each_in_turn_and_those_that_may_wait_come_last() {
        let encoders = Encoders::new(1);
        let mut held = encoders.turn(&Tenant::default(), Urgency::Now).now_or_never();
        assert!(held.is_some());
        let names = ["later", "a", "a", "a", "b", "b", "c"];
        let urgency = |name| if name == "later" { Urgency::Whenever } else { Urgency::Now };
        let mut line: Vec<_> =
            names.iter().map(|name| Some((*name, wait(&encoders, name, urgency(*name))))).collect();
        // One of them leaves.
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
        assert_eq!(encoders.line().free, 1);
        assert!(encoders.line().now.waiting.is_empty());
    }

    #[test]
    fn a_permit_whose_owner_left_goes_on() {
        let encoders = Encoders::new(1);
        let held = encoders.turn(&Tenant::default(), Urgency::Now).now_or_never();
        let gone = wait(&encoders, "a", Urgency::Now);
        let mut stays = wait(&encoders, "a", Urgency::Now);
        // It is given a permit, which it never takes.
        drop(held);
        drop(gone);
        assert!((&mut stays).now_or_never().is_some());
        assert_eq!(encoders.line().free, 1);
    }
}
