//! Accounts for the memory of request bodies, from their first byte until their handler has its result.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use judge::Tenant;

use crate::{
    error::{ApiError, Dialect},
    metrics::Refusal,
};

/// The memory budget for request bodies. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct BodyMemory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    /// A mutex, since it is held only for an addition, once per received chunk of a body.
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Bytes by tenant. Only tenants whose share is below 1 are counted, and an entry is removed when it reaches 0.
    of: HashMap<Tenant, usize>,
}

/// The memory reserved for one body; released on drop.
#[derive(Debug)]
pub(crate) struct BodyReservation {
    memory: BodyMemory,
    /// The tenant and the maximum bytes of all its bodies together; `None` if the tenant may use all of the memory.
    tenant: Option<(Tenant, usize)>,
    bytes: usize,
}

/// Why a body does not fit beside others. A body that is alone always fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// All bodies together would exceed this limit, in bytes.
    Full(usize),
    /// The bodies of its tenant would exceed this limit, in bytes.
    ShareTaken(usize),
}

impl NoRoom {
    /// The error response, the same as for a full queue: memory is released as soon as other requests are answered.
    pub(crate) fn refused(self, dialect: Dialect) -> ApiError {
        const RETRY_AFTER_S: u64 = 1;
        let (whose, bytes) = match self {
            Self::Full(bytes) => ("all requests", bytes),
            Self::ShareTaken(bytes) => ("all requests of this key", bytes),
        };
        let bodies = format!(
            "bodies of {whose} take {bytes} bytes, which is the limit (max_bodies_mib). Please retry after \
             {RETRY_AFTER_S}s."
        );
        // Clients of OpenAI's interface look for these words.
        let as_rate = format!("Rate limit reached: the {bodies}");
        let told = match (self, dialect) {
            (Self::Full(_), Dialect::Native) => ApiError::full(dialect, format!("The {bodies}")),
            (Self::Full(_), Dialect::OpenAi) => ApiError::full(dialect, as_rate),
            (Self::ShareTaken(_), _) => ApiError::limited(as_rate),
        };
        told.with_retry_after(RETRY_AFTER_S).refused(Refusal::Bodies)
    }
}

impl BodyMemory {
    /// A budget of `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, taken: Mutex::default() }))
    }

    /// An empty reservation. `share` is the fraction of the memory that all bodies of `tenant` may use.
    pub(crate) fn begin(&self, tenant: &Tenant, share: f32) -> BodyReservation {
        let part = (self.0.most as f64 * f64::from(share)) as usize;
        BodyReservation {
            memory: self.clone(),
            tenant: (share < 1.0).then(|| (tenant.clone(), part)),
            bytes: 0,
        }
    }

    /// Bytes reserved by all bodies.
    pub(crate) fn bytes(&self) -> usize {
        self.taken().all
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BodyReservation {
    /// Reserves `more` bytes.
    ///
    /// # Errors
    /// [`NoRoom`] when they do not fit beside the other bodies; nothing is reserved then.
    pub(crate) fn grow(&mut self, more: usize) -> Result<(), NoRoom> {
        let mut taken = self.memory.taken();
        let most = self.memory.0.most;
        if taken.all > self.bytes && taken.all + more > most {
            return Err(NoRoom::Full(most));
        }
        if let Some((tenant, part)) = &self.tenant {
            let own = taken.of.entry(tenant.clone()).or_default();
            if *own > self.bytes && *own + more > *part {
                return Err(NoRoom::ShareTaken(*part));
            }
            *own += more;
        }
        taken.all += more;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for BodyReservation {
    fn drop(&mut self) {
        let mut taken = self.memory.taken();
        taken.all -= self.bytes;
        let Some((tenant, _)) = &self.tenant else { return };
        if let Some(own) = taken.of.get_mut(tenant) {
            *own -= self.bytes;
            if *own == 0 {
                taken.of.remove(tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(memory: &BodyMemory, tenant: &str, share: f32) -> BodyReservation {
        memory.begin(&Tenant(tenant.into()), share)
    }

    #[test]
    fn bodies_take_what_there_is_and_give_it_back() {
        let memory = BodyMemory::new(100);
        let (mut first, mut second) = (body(&memory, "a", 1.0), body(&memory, "a", 1.0));
        first.grow(60).unwrap();
        second.grow(40).unwrap();
        assert_eq!(second.grow(1), Err(NoRoom::Full(100)));
        assert_eq!(memory.bytes(), 100);
        drop(first);
        second.grow(60).unwrap();
        // A body that is alone is bounded only by the maximum size of a single body, which is checked elsewhere.
        second.grow(1000).unwrap();
        assert_eq!(body(&memory, "b", 1.0).grow(1), Err(NoRoom::Full(100)));
        drop(second);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn a_tenant_has_its_share_and_others_find_room() {
        let memory = BodyMemory::new(100);
        let (mut first, mut second) = (body(&memory, "a", 0.25), body(&memory, "a", 0.25));
        first.grow(20).unwrap();
        assert_eq!(second.grow(6), Err(NoRoom::ShareTaken(25)));
        second.grow(5).unwrap();
        let mut other = body(&memory, "b", 0.25);
        other.grow(75).unwrap();
        assert_eq!(first.grow(1), Err(NoRoom::Full(100)));
        drop((first, second, other));
        assert!(memory.taken().of.is_empty());
    }
}
