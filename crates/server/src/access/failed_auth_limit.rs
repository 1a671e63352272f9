//! Limits wrong keys by client address: an address that sends many is refused for a while, and loses its connection
//! each time.
//!
//! Nobody guesses a key of 256 bits. The limit bounds the work and the log noise that guessing causes. Valid keys
//! are still accepted from a limited address, because many honest clients may share it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::bucket::Bucket;
use crate::connections::client_network::network;

/// The largest number of addresses to remember, at some hundred bytes each. Further addresses share one bucket.
const REMEMBERED: usize = 4096;

/// Limits the wrong keys of each address per minute.
#[derive(Debug)]
pub(crate) struct FailedAuthLimit {
    per_minute: u64,
    /// The addresses that have sent wrong keys. The lock is held only to count.
    of: Mutex<HashMap<IpAddr, Bucket>>,
    others: Bucket,
}

impl FailedAuthLimit {
    /// Creates a limit of `per_minute` wrong keys for each address, at least 1.
    pub(crate) fn new(per_minute: u64) -> Self {
        let per_minute = per_minute.max(1);
        Self { per_minute, of: Mutex::default(), others: Bucket::new(per_minute) }
    }

    /// Counts a wrong key of an address.
    ///
    /// # Errors
    /// The time until the next wrong key is allowed, if the address has used up its limit.
    pub(super) fn count(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= REMEMBERED {
            of.retain(|_, bucket| bucket.level(now).remaining < self.per_minute);
        }
        let address = network(address);
        let has_room = of.len() < REMEMBERED || of.contains_key(&address);
        let bucket = if has_room {
            of.entry(address).or_insert_with(|| Bucket::new(self.per_minute))
        } else {
            &self.others
        };
        // 1 never exceeds the limit, so a refusal always has a time to wait.
        bucket.take(1, now).map_err(|refused| refused.wait().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_each_minute_and_memory_has_an_end() {
        let limit = FailedAuthLimit::new(2);
        let start = Instant::now();
        let count = |address: &str, seconds| {
            limit.count(address.parse().unwrap(), start + Duration::from_secs(seconds))
        };
        for address in ["10.0.0.1", "::ffff:10.0.0.1"] {
            count(address, 1).unwrap();
        }
        assert_eq!(count("10.0.0.1", 1), Err(Duration::from_secs(30)));
        count("10.0.0.2", 1).unwrap();
        count("2001:db8::1", 1).unwrap();
        count("2001:db8::2", 1).unwrap();
        assert!(count("2001:db8::ffff:1:2", 1).is_err(), "one network");
        count("2001:db8:0:1::1", 1).unwrap();
        for number in 0..u32::try_from(REMEMBERED).unwrap() {
            let _ = limit.count(IpAddr::from(number.to_be_bytes()), start + Duration::from_secs(2));
        }
        assert_eq!(limit.of.lock().unwrap().len(), REMEMBERED);
        assert!(count("10.9.9.9", 2).is_err(), "there were others for whom there was no room");
        assert!(count("10.0.0.1", 3).is_err(), "who was remembered still is");
        count("10.9.9.9", 100).unwrap();
        assert_eq!(limit.of.lock().unwrap().len(), 1, "whose minute is over is forgotten");
    }
}
