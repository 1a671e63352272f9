//! What a key has used of its quotas, and what a request of it may use.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use judge::{Allowance, Exhausted, Quota, Tenant, Terms, Work};

use super::{
    bucket::{Bucket, Level},
    key::Key,
};

/// How many keys have figures under their own names; the others are counted together.
const NAMED: usize = 64;

/// A key and what it has used.
#[derive(Debug)]
pub(crate) struct Account {
    key: Key,
    tenant: Tenant,
    label: Arc<str>,
    queue_share: f32,
    stored_share: f32,
    // Shared with the account that the same key has after the keys were read again.
    requests: Option<Arc<Bucket>>,
    tokens: Option<Arc<Bucket>>,
    images: Option<Arc<Bucket>>,
    running: Arc<AtomicU64>,
}

impl Account {
    /// The account of the key at a place among all keys, which has `share` of the waiting line and of the disk unless it says otherwise. It goes
    /// on where `before` stands, as far as its limits are the same.
    pub(super) fn new(key: Key, (place, share): (usize, f32), before: Option<&Self>) -> Self {
        let bucket = |limit: Option<u64>, before: Option<&Option<Arc<Bucket>>>| {
            let limit = limit?;
            let same = before.cloned().flatten().filter(|bucket| bucket.limit() == limit);
            Some(same.unwrap_or_else(|| Arc::new(Bucket::new(limit))))
        };
        Self {
            requests: bucket(key.requests_per_minute, before.map(|account| &account.requests)),
            tokens: bucket(key.tokens_per_minute, before.map(|account| &account.tokens)),
            images: bucket(key.images_per_minute, before.map(|account| &account.images)),
            running: before.map(|account| account.running.clone()).unwrap_or_default(),
            tenant: Tenant(key.id.as_str().into()),
            label: if place < NAMED { key.id.as_str().into() } else { "other".into() },
            queue_share: key.queue_share.unwrap_or(share),
            stored_share: key.stored_share.unwrap_or(share),
            key,
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Whether its key has not expired.
    pub(super) fn holds(&self, now: SystemTime) -> bool {
        self.key.expires.is_none_or(|end| now < end)
    }

    /// What figures call it.
    pub(crate) fn label(&self) -> Arc<str> {
        self.label.clone()
    }

    /// Whose caches its requests share.
    pub(crate) fn tenant(&self) -> Tenant {
        self.tenant.clone()
    }

    /// What it is granted beside others.
    pub(crate) fn terms(&self, cache_salt: Arc<str>) -> Terms {
        Terms { weight: self.key.priority.weight(), queue_share: self.queue_share, cache_salt }
    }

    /// The part of the waiting line, and of the memory for bodies, that it may have.
    pub(crate) fn queue_share(&self) -> f32 {
        self.queue_share
    }

    /// The part of what is kept on the disk that it may have.
    pub(crate) fn stored_share(&self) -> f32 {
        self.stored_share
    }

    /// Counts one more request.
    ///
    /// # Errors
    /// When there were enough of them in the last minute.
    pub(super) fn take_request(&self) -> Result<(), Exhausted> {
        take(self.requests.as_deref(), Quota::Requests, 1)
    }

    /// Begins a request that runs until what is returned is dropped; nothing when as many run as may.
    pub(super) fn begin(&self) -> Option<RunningRequest> {
        let most = self.key.concurrent_requests.unwrap_or(u64::MAX);
        let begun =
            self.running.fetch_update(Relaxed, Relaxed, |running| (running < most).then_some(running + 1));
        begun.ok().map(|_| RunningRequest(self.running.clone()))
    }

    /// How its quotas of requests and of tokens stand.
    pub(super) fn levels(&self) -> [(&'static str, Option<Level>); 2] {
        let level = |bucket: &Option<Arc<Bucket>>| bucket.as_ref().map(|bucket| bucket.level(Instant::now()));
        [("requests", level(&self.requests)), ("tokens", level(&self.tokens))]
    }
}

fn take(bucket: Option<&Bucket>, quota: Quota, asked: u64) -> Result<(), Exhausted> {
    let Some(bucket) = bucket else { return Ok(()) };
    bucket.take(asked, Instant::now()).map_err(|wait| Exhausted {
        quota,
        limit: bucket.limit(),
        asked,
        retry_after_s: wait.map(ceiling),
    })
}

/// Whole seconds that are enough.
pub(super) fn ceiling(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Counts as running until it is dropped.
#[derive(Debug)]
pub(crate) struct RunningRequest(Arc<AtomicU64>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// One request of a key.
#[derive(Debug)]
pub(crate) struct Grant {
    account: Arc<Account>,
    /// Pictures that were counted for it: one that stands in several of its prompts counts once. A lock that is held to look.
    pictures: Mutex<HashSet<[u8; 32]>>,
}

impl Grant {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self { account, pictures: Mutex::default() }
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }
}

impl Allowance for Grant {
    fn take(&self, work: Work<'_>) -> Result<(), Exhausted> {
        let Account { tokens, images, .. } = &*self.account;
        take(tokens.as_deref(), Quota::Tokens, work.tokens as u64)?;
        if images.is_none() {
            return Ok(());
        }
        let mut counted = self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        let new: HashSet<_> = work.pictures.iter().filter(|picture| !counted.contains(*picture)).collect();
        let taken =
            if new.is_empty() { Ok(()) } else { take(images.as_deref(), Quota::Images, new.len() as u64) };
        match taken {
            Ok(()) => counted.extend(new),
            Err(_) => self.give_back(work.tokens),
        }
        taken
    }

    fn give_back(&self, tokens: usize) {
        if let Some(bucket) = &self.account.tokens {
            bucket.give_back(tokens as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::key::read_keys, *};

    fn account(limits: &str, before: Option<&Account>) -> Account {
        let text = format!("[[keys]]\nid = \"a\"\nsha256 = \"{}\"\n{limits}", "0".repeat(64));
        Account::new(read_keys(&text).unwrap().remove(0), (0, 1.0), before)
    }

    #[test]
    fn a_picture_counts_once_for_a_request_and_a_refusal_takes_nothing() {
        let account = Arc::new(account("images_per_minute = 3\ntokens_per_minute = 100\n", None));
        fn work(pictures: &[[u8; 32]]) -> Work<'_> {
            Work { tokens: 10, pictures }
        }
        let (one, two, three) = ([1; 32], [2; 32], [3; 32]);
        let grant = Grant::new(account.clone());
        grant.take(work(&[one, two])).unwrap();
        grant.take(work(&[two, one, two])).unwrap();
        let other = Grant::new(account.clone());
        let refused = other.take(work(&[one, three])).unwrap_err();
        assert_eq!((refused.quota, refused.asked, refused.limit), (Quota::Images, 2, 3));
        other.take(work(&[three])).unwrap();
        assert_eq!(account.levels()[1].1.unwrap().remaining, 70);
    }

    #[test]
    fn reading_the_keys_again_gives_nobody_a_new_minute() {
        let before = account("requests_per_minute = 1\nconcurrent_requests = 1\n", None);
        before.take_request().unwrap();
        let running = before.begin().unwrap();
        let after = account("requests_per_minute = 1\nconcurrent_requests = 1\n", Some(&before));
        assert!(after.take_request().is_err() && after.begin().is_none());
        drop(running);
        assert!(after.begin().is_some());
        account("requests_per_minute = 2\n", Some(&before)).take_request().unwrap();
    }
}
