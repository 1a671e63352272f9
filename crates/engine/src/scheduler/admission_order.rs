//! The order in which waiting sequences are considered for admission.

use std::collections::{HashMap, VecDeque};

use crate::{
    request::{Tenant, Urgency},
    scheduler::fair_share::FairShare,
    sequence::Sequence,
};

/// Indices into the queue, each returned once: first old sequences in order of arrival, then by turns of their
/// tenants, and last those of low urgency, also by order.
#[derive(Debug)]
pub(crate) struct AdmissionOrder {
    old: VecDeque<usize>,
    now: ByTenant,
    background: ByTenant,
}

type ByTenant = HashMap<Tenant, VecDeque<usize>>;

impl AdmissionOrder {
    pub(crate) fn new(waiting: &VecDeque<Box<Sequence>>, is_old: impl Fn(&Sequence) -> bool) -> Self {
        let mut order = Self { old: VecDeque::new(), now: HashMap::new(), background: HashMap::new() };
        for (index, sequence) in waiting.iter().enumerate() {
            let by_tenant = match sequence.urgency() {
                // The queue is in order of arrival, and so are these.
                Urgency::Now if is_old(sequence) => {
                    order.old.push_back(index);
                    continue;
                }
                Urgency::Now => &mut order.now,
                Urgency::Background => &mut order.background,
            };
            match by_tenant.get_mut(sequence.tenant()) {
                Some(places) => places.push_back(index),
                None => drop(by_tenant.insert(sequence.tenant().clone(), VecDeque::from([index]))),
            }
        }
        order
    }

    /// Skips all further sequences of `tenant`, except old ones.
    pub(crate) fn pass_over(&mut self, tenant: &Tenant) {
        self.now.remove(tenant);
        self.background.remove(tenant);
    }

    /// The next index: of the tenant that is furthest behind, and of several the one whose sequence has waited
    /// longest.
    pub(crate) fn next(&mut self, share: &FairShare) -> Option<usize> {
        let old = self.old.pop_front();
        old.or_else(|| next_of(&mut self.now, share)).or_else(|| next_of(&mut self.background, share))
    }
}

fn next_of(by_tenant: &mut ByTenant, share: &FairShare) -> Option<usize> {
    let waiting = by_tenant.iter_mut().filter(|(_, places)| !places.is_empty());
    let (_, places) = waiting.min_by_key(|(tenant, places)| (share.clock(tenant), places[0]))?;
    places.pop_front()
}
