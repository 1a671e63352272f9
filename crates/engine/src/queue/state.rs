//! The counters of the queue, and room taken and given back in them.

use std::collections::HashMap;

use super::{
    backlog::QueueClient,
    load::{Bound, Bounds, Demand, Load, QueuedPart, Wanted},
    ticket::{Counted, Ticket},
    waiters::Waiters,
};
use crate::{
    config::Config,
    request::{Lane, Tenant, Urgency},
};

/// The requests and parts that wait or are being prepared.
#[derive(Debug, Default)]
pub(crate) struct QueueState {
    pub(super) all: Load,
    /// Number of parts that write text.
    pub(super) explaining: usize,
    /// The load of each tenant with a limited share, as long as it has any.
    pub(crate) shares: HashMap<Tenant, Load>,
    /// Those that wait for room. They are here so that an attempt and its place in the order are one operation.
    pub(crate) waiters: Waiters,
    pub(super) refused_requests: u64,
    pub(super) refused_tokens: u64,
}

/// The upper bounds on the queue and on the tenant's share.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLimits {
    pub(super) queue: Bounds,
    pub(super) share: Bounds,
}

/// The exceeded bound, and the load that exceeds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exceeded {
    pub(super) bound: Bound,
    pub(super) load: Load,
}

impl QueueState {
    /// Reserves room in the queue and in the tenant's share of it, or nothing.
    pub(super) fn take(
        &mut self,
        client: QueueClient<'_>,
        wanted: Wanted,
        most: QueueLimits,
    ) -> Result<(), Exceeded> {
        if let Some(bound) = self.all.lacks(wanted, most.queue) {
            return Err(Exceeded { bound, load: self.all });
        }
        if let Some(tenant) = client.bounded() {
            let own = self.shares.get(tenant).copied().unwrap_or_default();
            if own.lacks(wanted, most.share).is_some() {
                return Err(Exceeded { bound: Bound::Share, load: own });
            }
            self.shares.entry(tenant.clone()).or_default().add(wanted);
        }
        self.all.add(wanted);
        if let Demand::Join(QueuedPart { lane: Lane::Explain, .. }) = wanted.demand {
            self.explaining += 1;
        }
        Ok(())
    }

    /// Releases room, also in a tenant's share, whose entry is removed when nothing is left of it.
    pub(super) fn give_back(&mut self, tenant: Option<&Tenant>, less: impl Fn(&mut Load)) {
        less(&mut self.all);
        let Some(tenant) = tenant else { return };
        if let Some(own) = self.shares.get_mut(tenant) {
            less(own);
            if own.is_empty() {
                self.shares.remove(tenant);
            }
        }
    }

    /// Releases the room of a request that no longer counts.
    pub(super) fn end(&mut self, ended: Option<Counted>) {
        if let Some(Counted { tenant }) = ended {
            self.give_back(tenant.as_ref(), |load| load.requests -= 1);
        }
    }

    /// Calls the waiters that are next, when there may be more room; returns the tickets to wake. When nothing waits or
    /// is being prepared, nothing may follow that calls others, so that all are called.
    pub(super) fn call(&mut self) -> Vec<Ticket> {
        self.waiters.call(self.all.is_empty())
    }

    pub(super) fn note_refused(&mut self, bound: Bound) {
        match bound {
            Bound::Requests => self.refused_requests += 1,
            Bound::Tokens => self.refused_tokens += 1,
            Bound::Share => {}
        }
    }
}

impl QueueLimits {
    /// The bounds for a request. Those of low urgency may fill only half of the queue; the other half is reserved
    /// for urgent ones.
    pub(super) fn of(client: QueueClient<'_>, config: &Config) -> Self {
        let Config { max_waiting, max_waiting_tokens, .. } = *config;
        let part = match client.urgency {
            Urgency::Now => 1,
            Urgency::Background => 2,
        };
        let queue = Bounds { requests: (max_waiting / part).max(1), tokens: max_waiting_tokens / part };
        let own = |whole: usize| (whole as f64 * f64::from(client.share)) as usize;
        let share = Bounds { requests: own(max_waiting).max(1), tokens: own(max_waiting_tokens) };
        Self { queue, share }
    }

    /// The same bounds with room for `more` requests.
    pub(super) fn and(self, more: usize) -> Self {
        let and = |bounds: Bounds| Bounds { requests: bounds.requests.saturating_add(more), ..bounds };
        Self { queue: and(self.queue), share: and(self.share) }
    }
}
