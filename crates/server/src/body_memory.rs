//! Memory that the bodies of requests take, from their first byte until their handler has its answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use judge::Tenant;

use crate::{
    error::{ApiError, Dialect},
    metrics::Refusal,
};

/// Memory for bodies. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct BodyMemory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    /// A lock that is held to count, once for each piece of a body that the system brings.
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// By those tenants that may not take all of it, as long as they have some.
    of: HashMap<Tenant, usize>,
}

/// What one body takes, until this is dropped.
#[derive(Debug)]
pub(crate) struct OfBody {
    memory: BodyMemory,
    /// Whose it is, and the most bytes that all bodies of that tenant may take.
    tenant: Option<(Tenant, usize)>,
    bytes: usize,
}

/// Why a body finds no room beside others. One that is alone always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// All bodies take this much, which is the limit.
    Full(usize),
    /// Those of its tenant do.
    ShareTaken(usize),
}

impl NoRoom {
    /// How it is told: as a full waiting line is, for room comes back as soon as others are answered.
    pub(crate) fn refused(self, dialect: Dialect) -> ApiError {
        const AGAIN_S: u64 = 1;
        let (whose, bytes) = match self {
            Self::Full(bytes) => ("all requests", bytes),
            Self::ShareTaken(bytes) => ("all requests of this key", bytes),
        };
        let message = format!(
            "Rate limit reached: the bodies of {whose} take {bytes} bytes, which is the limit (max_bodies_mib). Please retry \
             after {AGAIN_S}s."
        );
        let told = match self {
            Self::Full(_) => ApiError::full(dialect, message),
            Self::ShareTaken(_) => ApiError::limited(message),
        };
        told.with_retry_after(AGAIN_S).refused(Refusal::Bodies)
    }
}

impl BodyMemory {
    /// So many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, taken: Mutex::default() }))
    }

    /// For a body of which nothing is there yet. `share` is the part of the memory that its tenant may take.
    pub(crate) fn begin(&self, tenant: &Tenant, share: f32) -> OfBody {
        let part = (self.0.most as f64 * f64::from(share)) as usize;
        OfBody { memory: self.clone(), tenant: (share < 1.0).then(|| (tenant.clone(), part)), bytes: 0 }
    }

    /// Bytes that are taken.
    pub(crate) fn bytes(&self) -> usize {
        self.taken().all
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfBody {
    /// Takes `more` bytes.
    ///
    /// # Errors
    /// When there is no room for them beside what other bodies take.
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

impl Drop for OfBody {
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

    fn body(memory: &BodyMemory, tenant: &str, share: f32) -> OfBody {
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
        // One that is alone has the limit of a single body, and no other.
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
