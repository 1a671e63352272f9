//! Fair sharing between tenants: each gets an equal share of the tokens that are run, by weight.
//!
//! Start-time fair queueing: each tenant has a virtual clock that its admitted tokens advance, those that it did not
//! use set back, and the tenant whose clock is furthest behind is next. A tenant without work resumes at the present
//! time, so that it cannot save up a share.

use std::collections::HashMap;

use crate::request::Tenant;

/// With more tenants than this, the half whose clocks are furthest behind is forgotten, which affects the others
/// least.
const MAX_TENANTS: usize = 1024;

/// Clock units per token, so that the division by a weight does not round small requests to 0.
const SCALE: u64 = 1 << 10;

/// The virtual clocks of the tenants.
#[derive(Debug, Default)]
pub(crate) struct FairShare {
    clocks: HashMap<Tenant, u64>,
    /// The clock of the last served tenant, before it was advanced.
    now: u64,
}

impl FairShare {
    /// The current clock of `tenant`.
    pub(crate) fn clock(&self, tenant: &Tenant) -> u64 {
        self.clocks.get(tenant).copied().unwrap_or(0).max(self.now)
    }

    /// Advances the clock of `tenant` by `tokens`, divided by its weight.
    pub(crate) fn charge(&mut self, tenant: &Tenant, tokens: usize, weight: u32) {
        self.now = self.clock(tenant);
        self.clocks.insert(tenant.clone(), self.now + tokens as u64 * SCALE / u64::from(weight.max(1)));
        if self.clocks.len() > MAX_TENANTS {
            let mut clocks: Vec<u64> = self.clocks.values().copied().collect();
            let (_, middle, _) = clocks.select_nth_unstable(MAX_TENANTS / 2);
            let middle = *middle;
            self.clocks.retain(|_, clock| *clock > middle);
        }
    }

    /// Sets the clock of `tenant` back by charged `tokens` that were not run, divided by its weight. They are of no use
    /// to a tenant that idles, since no clock is read as earlier than the present.
    pub(crate) fn refund(&mut self, tenant: &Tenant, tokens: usize, weight: u32) {
        if let Some(clock) = self.clocks.get_mut(tenant) {
            *clock = clock.saturating_sub(tokens as u64 * SCALE / u64::from(weight.max(1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_had_least_is_next_and_idling_saves_nothing() {
        let mut share = FairShare::default();
        let [a, b, late] = ["a", "b", "late"].map(|name| Tenant(name.into()));
        share.charge(&a, 100, 1);
        assert!(share.clock(&b) < share.clock(&a));
        for _ in 0..3 {
            share.charge(&b, 60, 1);
            let (first, second) = (share.clock(&a), share.clock(&b));
            if first < second {
                share.charge(&a, 100, 1);
            }
        }
        assert_eq!(share.clock(&late), share.now);
        assert!(share.clock(&late) <= share.clock(&a).min(share.clock(&b)) && share.clock(&late) > 0);
    }

    #[test]
    fn a_tenant_of_more_weight_gets_so_many_times_the_tokens() {
        let mut share = FairShare::default();
        let [heavy, light] = ["heavy", "light"].map(|name| Tenant(name.into()));
        let mut run = [0, 0];
        for _ in 0..500 {
            if share.clock(&heavy) <= share.clock(&light) {
                share.charge(&heavy, 7, 4);
                run[0] += 7;
            } else {
                share.charge(&light, 7, 1);
                run[1] += 7;
            }
        }
        assert_eq!(run[0] / run[1], 4);
    }

    #[test]
    fn tokens_that_were_not_run_cost_nothing_and_save_nothing_up() {
        let mut share = FairShare::default();
        let [long, short, idle] = ["long", "short", "idle"].map(|name| Tenant(name.into()));
        let mut run = [0, 0];
        for _ in 0..500 {
            let (tenant, reserved, index) = match share.clock(&long) <= share.clock(&short) {
                true => (&long, 1000, 0),
                false => (&short, 10, 1),
            };
            share.charge(tenant, reserved, 2);
            share.refund(tenant, reserved - 10, 2);
            run[index] += 10;
        }
        assert_eq!(run, [2500, 2500]);
        share.refund(&idle, 1000, 1);
        share.charge(&long, 1, 1);
        share.refund(&long, 1000, 1);
        assert_eq!(share.clock(&long), share.now);
    }

    #[test]
    fn tenants_of_the_past_are_forgotten() {
        let mut share = FairShare::default();
        for index in 0..5 * MAX_TENANTS {
            share.charge(&Tenant(index.to_string().into()), 1, 1);
        }
        share.charge(&Tenant("last".into()), 10, 1);
        assert!(share.clocks.len() <= MAX_TENANTS);
    }
}
