//! A cache of verdicts: a repeated request gets the same verdict without computation.

use std::{
    hash::{Hash, RandomState},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use critic::Sha256Hasher;
use lru::LruCache;

use crate::{Caller, Conditions, Judgement, ReplyPart, receipt::Sha};

/// The latest verdicts, up to a maximum number. Clones share the same cache.
#[derive(Clone)]
pub(crate) struct VerdictCache(Option<Arc<Memory>>);

struct Memory {
    /// Held only to look up or insert an entry, so that no request waits for a computation.
    verdicts: Mutex<LruCache<Sha, Judgement, RandomState>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Number of lookups in the cache of verdicts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerdictCacheCounts {
    /// Lookups that found a verdict.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
}

/// The cache slot of one verdict.
pub(crate) struct Slot {
    memory: Arc<Memory>,
    key: Sha,
}

impl VerdictCache {
    /// A cache of `entries` verdicts; 0 disables it.
    pub(crate) fn new(entries: usize) -> Self {
        Self(NonZeroUsize::new(entries).map(|entries| {
            let verdicts = Mutex::new(LruCache::with_hasher(entries, RandomState::new()));
            Arc::new(Memory { verdicts, hits: AtomicU64::new(0), misses: AtomicU64::new(0) })
        }))
    }

    /// The number of hits and misses so far.
    pub(crate) fn counts(&self) -> VerdictCacheCounts {
        let counts = |memory: &Arc<Memory>| VerdictCacheCounts {
            hits: memory.hits.load(Ordering::Relaxed),
            misses: memory.misses.load(Ordering::Relaxed),
        };
        self.0.as_ref().map(counts).unwrap_or_default()
    }

    /// The slot for the verdict of `caller` under these conditions, with this script of the reply; `None` if the cache
    /// is disabled. Labels are part of the script, and what they mean follows from the form of the answer.
    pub(crate) fn slot(
        &self,
        conditions: &Conditions,
        script: &[ReplyPart],
        caller: &Caller,
    ) -> Option<Slot> {
        let memory = self.0.clone()?;
        let mut key = Sha256Hasher::default();
        (caller.scope(), conditions.digest(), script).hash(&mut key);
        Some(Slot { memory, key: key.digest() })
    }
}

impl Slot {
    /// The cached verdict, if there is one, with no prompt tokens computed; `conditions` are those of the current
    /// request.
    pub(crate) fn recall(&self, conditions: &Conditions) -> Option<Judgement> {
        let Memory { verdicts, hits, misses } = &*self.memory;
        let known = verdicts.lock().unwrap_or_else(PoisonError::into_inner).get(&self.key).cloned();
        let counter = if known.is_some() { hits } else { misses };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut judgement = known?;
        let prompt_tokens = judgement.usage.prompt_tokens;
        judgement.usage.cached_tokens = prompt_tokens;
        *judgement.receipt = judgement.receipt.remembered(conditions.clone(), prompt_tokens);
        Some(judgement)
    }

    /// Stores a verdict.
    pub(crate) fn remember(self, judgement: Judgement) {
        self.memory.verdicts.lock().unwrap_or_else(PoisonError::into_inner).put(self.key, judgement);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mode;

    #[test]
    fn requests_that_may_get_different_verdicts_have_different_slots() {
        let cache = VerdictCache::new(1);
        let (conditions, caller) = (Conditions::of_test(), Caller::default());
        let key = |conditions: &Conditions, script: &[ReplyPart], caller: &Caller| {
            cache.slot(conditions, script, caller).unwrap().key
        };
        let choose = |texts: &[&str]| ReplyPart::Choice {
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            distribution: false,
        };
        let script = [choose(&["ab", "c"])];
        let own = key(&conditions, &script, &caller);
        assert_eq!(own, key(&conditions, &script, &caller));
        assert_ne!(own, key(&conditions, &[choose(&["a", "bc"])], &caller), "texts do not run together");
        assert_ne!(own, key(&conditions, &[ReplyPart::Generate], &caller));
        assert_ne!(own, key(&Conditions { mode: Mode::Score, ..conditions.clone() }, &script, &caller));
        let mut other = caller.clone();
        other.client.tenant = engine::Tenant("another".into());
        assert_ne!(own, key(&conditions, &script, &other));
        assert!(VerdictCache::new(0).slot(&conditions, &script, &caller).is_none());
    }
}
