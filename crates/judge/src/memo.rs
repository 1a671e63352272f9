//! A cache of verdicts: a repeated request gets the same verdict without computation.

use std::{
    hash::RandomState,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::{Caller, Judgement, Receipt, ReplyPart, receipt::Sha, reply::Reader};

/// The latest verdicts, up to a maximum number. Clones share the same cache.
#[derive(Clone)]
pub(crate) struct Memo(Option<Arc<Memory>>);

struct Memory {
    /// Held only to look up or insert an entry, so that no request waits for a computation.
    verdicts: Mutex<LruCache<Sha, Judgement, RandomState>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Number of cache lookups since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoCounts {
    /// Lookups that found a verdict.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
}

/// The cache slot of one verdict.
pub(crate) struct Slot {
    memo: Memo,
    key: Sha,
}

impl Memo {
    /// A cache of `entries` verdicts; 0 disables it.
    pub(crate) fn new(entries: usize) -> Self {
        Self(NonZeroUsize::new(entries).map(|entries| {
            let verdicts = Mutex::new(LruCache::with_hasher(entries, RandomState::new()));
            Arc::new(Memory { verdicts, hits: AtomicU64::new(0), misses: AtomicU64::new(0) })
        }))
    }

    /// The number of hits and misses so far.
    pub(crate) fn counts(&self) -> MemoCounts {
        let counts = |memory: &Arc<Memory>| MemoCounts {
            hits: memory.hits.load(Ordering::Relaxed),
            misses: memory.misses.load(Ordering::Relaxed),
        };
        self.0.as_ref().map(counts).unwrap_or_default()
    }

    /// The slot for the verdict determined by `caller`, a receipt, the script of the reply and how it is read; `None`
    /// if the cache is disabled.
    pub(crate) fn slot(
        &self,
        receipt: &Receipt,
        (script, reader): (&[ReplyPart], &Reader),
        caller: &Caller,
    ) -> Option<Slot> {
        self.0.as_ref()?;
        // Labels are part of the script. How a text is read may change without a change of the prompt, when profiles
        // are reloaded.
        let parser = match reader {
            Reader::Text(parser) => Some(parser),
            Reader::Choice(_) | Reader::Reward => None,
        };
        let Receipt { rubric, rubric_version, rubric_digest, prompt_digest, mode, max_tokens, .. } = receipt;
        let mode = mode.as_str();
        let sampling = (receipt.temperature.to_bits(), receipt.top_p.to_bits(), receipt.seed);
        let digest = Sha256::new()
            .chain_update(caller.scope())
            .chain_update(rubric_digest)
            .chain_update(prompt_digest)
            .chain_update(format!(
                "{rubric:?} {rubric_version} {mode} {max_tokens} {sampling:?} {script:?} {parser:?}"
            ));
        Some(Slot { memo: self.clone(), key: digest.finalize().into() })
    }
}

impl Slot {
    /// The cached verdict, if there is one, with no prompt tokens computed; `receipt` is that of the current
    /// request.
    pub(crate) fn recall(&self, receipt: &Receipt) -> Option<Judgement> {
        let memory = self.memo.0.as_ref()?;
        let known = memory.verdicts.lock().unwrap_or_else(PoisonError::into_inner).get(&self.key).cloned();
        let counter = if known.is_some() { &memory.hits } else { &memory.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut judgement = known?;
        judgement.usage.cached_tokens = judgement.usage.prompt_tokens;
        let (cached_tokens, verdict_digest) =
            (judgement.usage.prompt_tokens, judgement.receipt.verdict_digest);
        *judgement.receipt = Receipt { cached_tokens, remembered: true, verdict_digest, ..receipt.clone() };
        Some(judgement)
    }

    /// Stores a verdict.
    pub(crate) fn remember(self, judgement: Judgement) {
        if let Some(memory) = &self.memo.0 {
            memory.verdicts.lock().unwrap_or_else(PoisonError::into_inner).put(self.key, judgement);
        }
    }
}
