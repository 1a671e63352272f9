//! A quota per minute, as a token bucket: units refill evenly, and at most one minute's worth accumulates.
//!
//! The algorithm is the generic cell rate algorithm (GCRA), whose only state is the time at which the bucket will
//! be full again. It is implemented here because it is small and because existing crates cannot return units that
//! were taken but not used, which token quotas need.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// One minute in nanoseconds.
const MINUTE: u128 = 60_000_000_000;

/// One quota of one key.
#[derive(Debug)]
pub(crate) struct Bucket {
    limit: u64,
    /// The origin of `full_at`. On the monotonic clock, so that changes of the system time do not affect the quota.
    start: Instant,
    /// When the bucket will be full again, in nanoseconds after `start` multiplied by `limit`, so that nothing is
    /// rounded. The lock is held only for arithmetic.
    full_at: Mutex<u128>,
}

/// Why a bucket did not give the units that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Enough of them will be there after this time.
    After(Duration),
    /// They are more than the bucket can ever hold.
    Never,
}

impl Refused {
    /// The time until enough units are there; `None` if that is never.
    pub(super) fn wait(self) -> Option<Duration> {
        match self {
            Self::After(wait) => Some(wait),
            Self::Never => None,
        }
    }
}

/// The fill level of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// Units per minute.
    pub(crate) limit: u64,
    /// Units left now.
    pub(crate) remaining: u64,
    /// Time until the bucket is full again.
    pub(crate) reset: Duration,
}

impl Bucket {
    /// Creates a full bucket of `limit` units per minute; `limit` must not be 0.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, start: Instant::now(), full_at: Mutex::new(0) }
    }

    /// Units per minute.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes all of `units` at the time `now`, or nothing.
    ///
    /// # Errors
    /// [`Refused`] if fewer units are left.
    pub(crate) fn take(&self, units: u64, now: Instant) -> Result<(), Refused> {
        let (capacity, cost) = (MINUTE * u128::from(self.limit), MINUTE * u128::from(units));
        if cost > capacity {
            return Err(Refused::Never);
        }
        let now = self.since_start(now);
        let mut full_at = self.full_at();
        let after = (*full_at).max(now) + cost;
        if after > now + capacity {
            return Err(Refused::After(self.duration(after - now - capacity)));
        }
        *full_at = after;
        Ok(())
    }

    /// Returns `units` that were taken but not used.
    pub(crate) fn give_back(&self, units: u64) {
        let mut full_at = self.full_at();
        *full_at = full_at.saturating_sub(MINUTE * u128::from(units));
    }

    /// The fill level at the time `now`.
    pub(crate) fn level(&self, now: Instant) -> Level {
        let missing = self.full_at().saturating_sub(self.since_start(now));
        let taken = missing.div_ceil(MINUTE) as u64;
        Level {
            limit: self.limit,
            remaining: self.limit.saturating_sub(taken),
            reset: self.duration(missing),
        }
    }

    fn since_start(&self, now: Instant) -> u128 {
        now.saturating_duration_since(self.start).as_nanos() * u128::from(self.limit)
    }

    fn duration(&self, scaled: u128) -> Duration {
        Duration::from_nanos(scaled.div_ceil(u128::from(self.limit)) as u64)
    }

    fn full_at(&self) -> MutexGuard<'_, u128> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_comes_back_evenly_and_no_more_than_a_minute_is_saved() {
        let bucket = Bucket::new(3);
        let start = bucket.start;
        let at = |seconds| start + Duration::from_secs(seconds);
        for left in [2, 1, 0] {
            bucket.take(1, start).unwrap();
            assert_eq!(bucket.level(start).remaining, left);
        }
        assert_eq!(bucket.take(1, start), Err(Refused::After(Duration::from_secs(20))));
        assert_eq!(bucket.take(1, at(19)), Err(Refused::After(Duration::from_secs(1))));
        assert_eq!(bucket.level(at(19)).reset, Duration::from_secs(41));
        bucket.take(1, at(20)).unwrap();
        assert!(bucket.take(1, at(20)).is_err());
        // An hour later three units are available, not 180.
        bucket.take(3, at(3600)).unwrap();
        assert!(bucket.take(1, at(3600)).is_err());
        assert_eq!(bucket.take(4, at(9999)), Err(Refused::Never), "more than there ever is");
    }

    #[test]
    fn what_was_not_used_is_there_again_at_once() {
        let bucket = Bucket::new(1000);
        bucket.take(900, bucket.start).unwrap();
        assert!(bucket.take(200, bucket.start).is_err());
        bucket.give_back(600);
        assert_eq!(bucket.level(bucket.start).remaining, 700);
        bucket.take(700, bucket.start).unwrap();
        bucket.give_back(5000);
        assert_eq!(bucket.level(bucket.start).remaining, 1000, "never more than there is");
    }

    #[test]
    fn exactly_the_limit_is_let_in_however_many_ask_at_once() {
        let bucket = Bucket::new(1000);
        let taken = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if bucket.take(1, bucket.start).is_ok() {
                            taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 1000);
    }
}
