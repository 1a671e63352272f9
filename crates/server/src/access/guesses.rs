//! Wrong keys, counted by the address that shows them: who shows many is told to wait, and loses its connection each time.
//!
//! Nobody guesses a key of 256 bits. What this holds off is the work and the noise that guessing makes. Right keys are taken from such an
//! address all the same, since many who are honest may stand behind one.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::bucket::Bucket;

/// The most addresses that are remembered, some hundred bytes each; those for which there is no room are counted together.
const REMEMBERED: usize = 4096;

/// Wrong keys of the last minute.
#[derive(Debug)]
pub(crate) struct Guesses {
    per_minute: u64,
    /// Those addresses that have shown some. A lock that is held to count.
    of: Mutex<HashMap<IpAddr, Bucket>>,
    others: Bucket,
}

impl Guesses {
    /// So many may be shown each minute; at least one.
    pub(crate) fn new(per_minute: u64) -> Self {
        let per_minute = per_minute.max(1);
        Self { per_minute, of: Mutex::default(), others: Bucket::new(per_minute) }
    }

    /// Counts a wrong key.
    ///
    /// # Errors
    /// When there were enough of them: how long until there may be another one.
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
        // One is never more than there is, so that there is always a time to wait.
        bucket.take(1, now).map_err(Option::unwrap_or_default)
    }
}

/// Whose address it is: of the newer kind everybody has as many as fit into half of it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        IpAddr::V4(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_each_minute_and_memory_has_an_end() {
        let guesses = Guesses::new(2);
        let start = Instant::now();
        let count = |address: &str, seconds| {
            guesses.count(address.parse().unwrap(), start + Duration::from_secs(seconds))
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
            let _ = guesses.count(IpAddr::from(number.to_be_bytes()), start + Duration::from_secs(2));
        }
        assert_eq!(guesses.of.lock().unwrap().len(), REMEMBERED);
        assert!(count("10.9.9.9", 2).is_err(), "there were others for whom there was no room");
        assert!(count("10.0.0.1", 3).is_err(), "who was remembered still is");
        count("10.9.9.9", 100).unwrap();
        assert_eq!(guesses.of.lock().unwrap().len(), 1, "whose minute is over is forgotten");
    }
}
