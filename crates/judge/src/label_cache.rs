//! Lists of labels as tokens, so that those in use are tokenised once and not for each request.

use std::sync::{Arc, Mutex, PoisonError};

use critic::TokenId;
use engine::Labels;
use sha2::{Digest, Sha256};

use crate::{JudgeError, byte_cache::ByteCache};

/// Upper bound on the memory for all lists, in bytes: enough for hundreds of scales of a hundred scores, or for a few
/// of the longest lists that requests may have.
const MOST_BYTES: usize = 8 << 20;

/// Approximate memory for one label in bytes, without its text and tokens.
const LABEL_BYTES: usize = 128;

/// Memory in bytes for each byte of a label's text: the text itself, and its tokens in the label and in a branch of
/// the tree of labels. A token has four bytes, and stands for one byte of text at least. Labels have few tokens of the
/// text before them, usually none.
const BYTES_PER_BYTE: usize = 1 + 4 + 4;

/// The latest lists of labels, which fill a bounded part of the memory whatever the length of their texts.
pub(crate) struct LabelCache {
    /// Held only to look up or insert an entry, never while texts are tokenised.
    kept: Mutex<ByteCache<Key, Arc<Tokenised>>>,
}

/// A list of labels as tokens.
#[derive(Debug)]
pub(crate) struct Tokenised {
    /// The fixed text before the labels, up to the first token that differs between them.
    pub(crate) lead: Vec<TokenId>,
    /// The rest of the fixed text with each label.
    pub(crate) labels: Labels,
}

/// The digest of the texts of a list and of the callers who can find it. Others could otherwise learn from the time of
/// their first request that it was used.
type Key = [u8; 32];

/// The texts of a list.
#[derive(Clone, Copy)]
pub(crate) struct LabelTexts<'a> {
    /// The fixed text before the labels.
    pub(crate) lead: &'a str,
    pub(crate) labels: &'a [String],
}

impl LabelTexts<'_> {
    /// SHA-256 over the scope of callers and the texts, each with its length.
    fn key(&self, scope: [u8; 32]) -> Key {
        let mut digest = Sha256::new_with_prefix(scope);
        for text in self.labels.iter().map(String::as_str).chain([self.lead]) {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        }
        digest.finalize().into()
    }

    /// The approximate memory for the list in bytes.
    fn bytes(&self) -> usize {
        let labels = self.labels.iter().map(|text| LABEL_BYTES + text.len() * BYTES_PER_BYTE);
        self.lead.len() * BYTES_PER_BYTE + labels.sum::<usize>()
    }
}

impl Default for LabelCache {
    fn default() -> Self {
        Self { kept: Mutex::new(ByteCache::new(MOST_BYTES)) }
    }
}

impl LabelCache {
    /// A list of labels for callers of a scope, which `tokenise` makes if it is not in the cache.
    ///
    /// # Errors
    /// The error of `tokenise`.
    pub(crate) fn labels(
        &self,
        texts: LabelTexts<'_>,
        scope: [u8; 32],
        tokenise: impl FnOnce() -> Result<Tokenised, JudgeError>,
    ) -> Result<Arc<Tokenised>, JudgeError> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let key = texts.key(scope);
        if let Some(known) = kept().get(&key) {
            return Ok(known);
        }
        let tokenised = Arc::new(tokenise()?);
        kept().put(key, tokenised.clone(), texts.bytes());
        Ok(tokenised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two texts with `length` bytes before their name.
    fn texts(name: usize, length: usize) -> Vec<String> {
        ["a", "b"].map(|end| format!("{}{name}{end}", "0".repeat(length))).to_vec()
    }

    /// Labels whose tokens are their bytes.
    fn tokenised(texts: &[String]) -> Result<Tokenised, JudgeError> {
        let tokens = texts.iter().map(|text| text.bytes().map(|byte| TokenId(byte.into())).collect());
        Ok(Tokenised { lead: Vec::new(), labels: Labels::new(tokens.collect())? })
    }

    /// Whether a list must be tokenised; it is in the cache afterwards, unless it is too long for it.
    fn is_new(cache: &LabelCache, texts: &[String]) -> bool {
        is_new_after("", cache, texts)
    }

    /// The same for a list after `lead`.
    fn is_new_after(lead: &str, cache: &LabelCache, texts: &[String]) -> bool {
        let mut is_new = false;
        let labels = cache.labels(LabelTexts { lead, labels: texts }, [0; 32], || {
            is_new = true;
            tokenised(texts)
        });
        assert!(labels.is_ok());
        is_new
    }

    #[test]
    fn labels_after_another_text_are_another_list() {
        let (cache, texts) = (LabelCache::default(), texts(1, 8));
        for is_new in [true, false] {
            for lead in ["", "Score: ", "Score:"] {
                assert_eq!(is_new_after(lead, &cache, &texts), is_new, "{lead:?}");
            }
        }
    }

    #[test]
    fn lists_are_tokenised_once_and_the_latest_stay_within_the_memory() {
        let cache = LabelCache::default();
        let length = 50_000;
        for name in 0..20 {
            assert!(is_new(&cache, &texts(name, length)));
            assert!(!is_new(&cache, &texts(name, length)));
            // This one is always in use.
            assert_eq!(is_new(&cache, &texts(100, 8)), name == 0);
        }
        assert!(is_new(&cache, &texts(0, length)), "the oldest one is no longer kept");
        let (lists, bytes) = cache.kept.lock().unwrap().size();
        assert!(bytes <= MOST_BYTES && lists > 4, "{bytes} bytes");
    }

    #[test]
    fn a_list_that_is_added_twice_counts_once_and_one_that_is_too_long_is_not_kept() {
        let cache = LabelCache::default();
        let short = texts(1, 8);
        let listed = LabelTexts { lead: "xy", labels: &short };
        for _ in 0..2 {
            let tokenised = Arc::new(tokenised(&short).unwrap());
            cache.kept.lock().unwrap().put(listed.key([0; 32]), tokenised, listed.bytes());
        }
        assert!(listed.key([0; 32]) != listed.key([1; 32]), "others learn nothing of it");
        assert_eq!(cache.kept.lock().unwrap().size().1, 2 * (LABEL_BYTES + 11 * BYTES_PER_BYTE));
        let long = texts(2, MOST_BYTES / 16);
        assert!(is_new(&cache, &long) && is_new(&cache, &long));
        assert_eq!(cache.kept.lock().unwrap().size().1, 0);
    }
}
