//! In which order waiting sequences are looked at.

use std::collections::{HashMap, VecDeque};

use crate::{fair_share::FairShare, request::Tenant, sequence::Sequence};

/// Places in the waiting line, each given out once: first those that are old, in order, then by turns of their tenants.
#[derive(Debug)]
pub(crate) struct Turns {
    old: VecDeque<usize>,
    by_tenant: HashMap<Tenant, VecDeque<usize>>,
}

impl Turns {
    pub(crate) fn new(line: &[Option<Box<Sequence>>], is_old: impl Fn(&Sequence) -> bool) -> Self {
        let old = line.iter().flatten().take_while(|sequence| is_old(sequence)).count();
        let mut by_tenant: HashMap<Tenant, VecDeque<usize>> = HashMap::new();
        for (index, sequence) in line.iter().flatten().enumerate().skip(old) {
            match by_tenant.get_mut(sequence.tenant()) {
                Some(places) => places.push_back(index),
                None => drop(by_tenant.insert(sequence.tenant().clone(), VecDeque::from([index]))),
            }
        }
        Self { old: (0..old).collect(), by_tenant }
    }

    /// The next place: of the tenant that is furthest behind, of several the one that has waited longest.
    pub(crate) fn next(&mut self, share: &FairShare) -> Option<usize> {
        if let Some(old) = self.old.pop_front() {
            return Some(old);
        }
        let waiting = self.by_tenant.iter_mut().filter(|(_, places)| !places.is_empty());
        let (_, places) = waiting.min_by_key(|(tenant, places)| (share.clock(tenant), places[0]))?;
        places.pop_front()
    }
}
