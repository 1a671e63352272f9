//! Verdicts that are remembered: who asks the same again gets the same, and nothing is computed.

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

use crate::{Caller, Judgement, Receipt, ReplyPart, receipt::Sha};

/// The verdicts that were asked for latest, up to a number. Clones are the same memory.
#[derive(Clone)]
pub(crate) struct Memo(Option<Arc<Memory>>);

struct Memory {
    /// Held only to look up or to put one entry, so that nobody waits for work.
    verdicts: Mutex<LruCache<Sha, Judgement, RandomState>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How often a verdict was looked for since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoCounts {
    /// It was remembered.
    pub hits: u64,
    /// It was not.
    pub misses: u64,
}

/// A place for one verdict.
pub(crate) struct Slot {
    memo: Memo,
    key: Sha,
}

impl Memo {
    /// Room for `entries` verdicts; with 0 nothing is remembered.
    pub(crate) fn new(entries: usize) -> Self {
        Self(NonZeroUsize::new(entries).map(|entries| {
            let verdicts = Mutex::new(LruCache::with_hasher(entries, RandomState::new()));
            Arc::new(Memory { verdicts, hits: AtomicU64::new(0), misses: AtomicU64::new(0) })
        }))
    }

    /// How often it was of use.
    pub(crate) fn counts(&self) -> MemoCounts {
        let counts = |memory: &Arc<Memory>| MemoCounts {
            hits: memory.hits.load(Ordering::Relaxed),
            misses: memory.misses.load(Ordering::Relaxed),
        };
        self.0.as_ref().map(counts).unwrap_or_default()
    }

    /// The place of the verdict that a receipt and the plan of the reply promise to `caller`; `None` without a memory.
    pub(crate) fn slot(&self, receipt: &Receipt, script: &[ReplyPart], caller: &Caller) -> Option<Slot> {
        self.0.as_ref()?;
        let Receipt { rubric, rubric_version, rubric_digest, prompt_digest, mode, max_tokens, .. } = receipt;
        let drawing = (receipt.temperature.to_bits(), receipt.top_p.to_bits(), receipt.seed);
        let digest = Sha256::new()
            .chain_update(caller.scope())
            .chain_update(rubric_digest)
            .chain_update(prompt_digest)
            .chain_update(format!("{rubric:?} {rubric_version} {mode} {max_tokens} {drawing:?} {script:?}"));
        Some(Slot { memo: self.clone(), key: digest.finalize().into() })
    }
}

impl Slot {
    /// What is remembered there, as a verdict for which nothing was computed; `receipt` is that of who asks now.
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

    /// Remembers a verdict.
    pub(crate) fn remember(self, judgement: Judgement) {
        if let Some(memory) = &self.memo.0 {
            memory.verdicts.lock().unwrap_or_else(PoisonError::into_inner).put(self.key, judgement);
        }
    }
}
