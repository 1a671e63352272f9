//! The quota usage of a key, and the quota reservations of a single request made with it.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use judge::{Allowance, Exhausted, Quota, Tenant, Terms, Work};
use tokio::sync::{Mutex as Turn, Notify};

use super::{
    bucket::{Bucket, Level, Refused},
    key::Key,
};

/// Number of keys with a metric label of their own; all later keys share the label `other`.
const NAMED: usize = 64;

/// A key and its quota usage.
#[derive(Debug)]
pub(crate) struct Account {
    key: Key,
    tenant: Tenant,
    label: Arc<str>,
    queue_share: f32,
    stored_share: f32,
    // Shared with the account that replaces this one when the keys are reloaded.
    requests: Option<Arc<Bucket>>,
    tokens: Option<Arc<Bucket>>,
    images: Option<Arc<Bucket>>,
    running: Arc<Running>,
}

/// The running requests of a key, and the queue of those that wait to start.
#[derive(Debug, Default)]
struct Running {
    count: AtomicU64,
    /// Notified whenever a request ends. Only the holder of `turn` waits on it, so no notification wakes a task in
    /// vain.
    ended: Notify,
    /// Held by the first waiting request while it waits. A fair lock, so requests start in the order of their
    /// arrival.
    turn: Turn<()>,
}

impl Account {
    /// Creates the account of the key at index `place` among all keys. `share` is its share of the queue and of the
    /// disk where the key sets none. Buckets whose limits are unchanged, and the count of running requests, are
    /// taken over from `before`.
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

    /// Whether the key has not expired at the time `now`.
    pub(super) fn holds(&self, now: SystemTime) -> bool {
        self.key.expires.is_none_or(|end| now < end)
    }

    /// The label of this key in metrics.
    pub(crate) fn label(&self) -> Arc<str> {
        self.label.clone()
    }

    /// The tenant of its requests; requests of one tenant share caches.
    pub(crate) fn tenant(&self) -> Tenant {
        self.tenant.clone()
    }

    /// The scheduling terms of its requests: weight and queue share, and the given cache salt.
    pub(crate) fn terms(&self, cache_salt: Arc<str>) -> Terms {
        Terms { weight: self.key.priority.weight(), queue_share: self.queue_share, cache_salt }
    }

    /// Its share of the queue and of the memory for request bodies; 1 is all of it.
    pub(crate) fn queue_share(&self) -> f32 {
        self.queue_share
    }

    /// Its share of the disk space for stored files; 1 is all of it.
    pub(crate) fn stored_share(&self) -> f32 {
        self.stored_share
    }

    /// Counts a request against the quota of requests per minute.
    ///
    /// # Errors
    /// [`Exhausted`] if the quota has no request left.
    pub(super) fn take_request(&self) -> Result<(), Exhausted> {
        take(self.requests.as_deref(), Quota::Requests, 1)
    }

    /// Starts a request, which counts as running until the returned guard is dropped. `None` if as many requests as
    /// the key allows are running already.
    pub(super) fn begin(&self) -> Option<RunningRequest> {
        let most = self.key.concurrent_requests.unwrap_or(u64::MAX);
        let more = |running| (running < most).then_some(running + 1);
        let begun = self.running.count.fetch_update(Relaxed, Relaxed, more);
        begun.ok().map(|_| RunningRequest(self.running.clone()))
    }

    /// Starts a request and counts it against the quota of requests, as soon as both limits allow it. Waiting
    /// requests start in the order of their arrival.
    pub(super) async fn begin_in_turn(&self) -> RunningRequest {
        let _turn = self.running.turn.lock().await;
        let running = loop {
            let ended = self.running.ended.notified();
            match self.begin() {
                Some(running) => break running,
                None => ended.await,
            }
        };
        // The request keeps its running slot while it waits for the quota: no other request of the key could use
        // the slot.
        if let Some(requests) = &self.requests {
            while let Err(Refused::After(wait)) = requests.take(1, Instant::now()) {
                tokio::time::sleep(wait).await;
            }
        }
        running
    }

    /// The levels of its quotas of requests and of tokens, by name; `None` for a quota that is not set.
    pub(super) fn levels(&self) -> [(&'static str, Option<Level>); 2] {
        let level = |bucket: &Option<Arc<Bucket>>| bucket.as_ref().map(|bucket| bucket.level(Instant::now()));
        [("requests", level(&self.requests)), ("tokens", level(&self.tokens))]
    }
}

fn take(bucket: Option<&Bucket>, quota: Quota, asked: u64) -> Result<(), Exhausted> {
    let Some(bucket) = bucket else { return Ok(()) };
    bucket.take(asked, Instant::now()).map_err(|refused| Exhausted {
        quota,
        limit: bucket.limit(),
        asked,
        retry_after_s: refused.wait().map(ceiling),
    })
}

/// Rounds a duration up to whole seconds.
pub(super) fn ceiling(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Counts a request of the key as running until it is dropped.
#[derive(Debug)]
pub(crate) struct RunningRequest(Arc<Running>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
        self.0.ended.notify_one();
    }
}

/// Charges the work of one request to the quotas of its key.
#[derive(Debug)]
pub(crate) struct Grant {
    account: Arc<Account>,
    /// Digests of the images that were already counted for this request: an image that occurs in several of its
    /// prompts counts once. The lock is held only for lookups and inserts.
    images: Mutex<HashSet<[u8; 32]>>,
}

impl Grant {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self { account, images: Mutex::default() }
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
        let mut counted = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let new: HashSet<_> = work.images.iter().filter(|image| !counted.contains(*image)).collect();
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
    use super::{super::key_file::read_keys, *};

    fn account(limits: &str, before: Option<&Account>) -> Account {
        let text = format!("[[keys]]\nid = \"a\"\nsha256 = \"{}\"\n{limits}", "0".repeat(64));
        Account::new(read_keys(&text).unwrap().remove(0), (0, 1.0), before)
    }

    #[test]
    fn an_image_counts_once_for_a_request_and_a_refusal_takes_nothing() {
        let account = Arc::new(account("images_per_minute = 3\ntokens_per_minute = 100\n", None));
        fn work(images: &[[u8; 32]]) -> Work<'_> {
            Work { tokens: 10, images }
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

    #[tokio::test]
    async fn who_waits_begins_when_another_ends_and_in_the_order_of_coming() {
        let account = Arc::new(account("requests_per_minute = 600\nconcurrent_requests = 1\n", None));
        let first = account.begin().unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..3)
            .map(|index| {
                let (account, order) = (account.clone(), order.clone());
                tokio::spawn(async move {
                    let running = account.begin_in_turn().await;
                    order.lock().unwrap().push(index);
                    drop(running);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(order.lock().unwrap().is_empty());
        // A waiting request that gives up does not block the others.
        waiting[1].abort();
        drop(first);
        for waits in waiting {
            let _ = waits.await;
        }
        assert_eq!(*order.lock().unwrap(), [0, 2]);
        let requests = account.requests.as_deref().unwrap();
        let now = Instant::now();
        while requests.take(1, now).is_ok() {}
        let refused = requests.take(1, now).unwrap_err();
        assert!(
            refused.wait().is_some_and(|wait| wait <= Duration::from_millis(100)),
            "600 come back each minute"
        );
        let before = requests.level(now).reset;
        // It starts as soon as one request of the quota is available again, and takes that one.
        drop(account.begin_in_turn().await);
        assert_eq!(requests.level(now).reset - before, Duration::from_millis(100));
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
