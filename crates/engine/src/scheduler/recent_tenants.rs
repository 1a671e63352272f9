//! Tracks whether a tenant has the engine to itself, or leaves room for others that sent requests recently.

use std::time::{Duration, Instant};

use crate::request::Tenant;

/// How long after its last request a tenant is expected to send another.
const RECENT_WINDOW: Duration = Duration::from_secs(10);

/// The tenant of the latest request, and the time of the latest request of any other.
#[derive(Debug, Default)]
pub(crate) struct RecentTenants {
    latest: Option<(Tenant, Instant)>,
    /// Time of the latest request of a tenant other than the latest one.
    other: Option<Instant>,
}

impl RecentTenants {
    /// Records a request of `tenant`.
    pub(crate) fn note(&mut self, tenant: &Tenant, at: Instant) {
        match &mut self.latest {
            Some((latest, time)) if latest == tenant => *time = at,
            latest => self.other = latest.replace((tenant.clone(), at)).map(|(_, time)| time),
        }
    }

    /// Whether any tenant but `tenant` sent a request recently.
    pub(crate) fn has_others(&self, tenant: &Tenant, now: Instant) -> bool {
        let came = match &self.latest {
            Some((latest, time)) if latest != tenant => Some(*time),
            Some(_) | None => self.other,
        };
        came.is_some_and(|time| now.saturating_duration_since(time) <= RECENT_WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_those_who_came_lately_and_are_not_oneself() {
        let [a, b] = ["a", "b"].map(|name| Tenant(name.into()));
        let start = Instant::now();
        let mut recent_tenants = RecentTenants::default();
        assert!(!recent_tenants.has_others(&a, start));
        recent_tenants.note(&a, start);
        recent_tenants.note(&a, start);
        assert!(!recent_tenants.has_others(&a, start) && recent_tenants.has_others(&b, start));
        recent_tenants.note(&b, start);
        let later = start + RECENT_WINDOW;
        (0..3).for_each(|_| recent_tenants.note(&a, later));
        assert!(recent_tenants.has_others(&a, later) && recent_tenants.has_others(&b, later));
        let after = later + Duration::from_millis(1);
        assert!(!recent_tenants.has_others(&a, after) && recent_tenants.has_others(&b, after));
    }
}
