//! The set of active keys, and the lookup of a presented key.

use std::{sync::Arc, time::SystemTime};

use judge::Tenant;
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::{
    account::Account,
    key::{Key, digest_of},
};

/// The default share of the queue and of the disk for each of several keys. A single key has all of both.
const SHARE_AMONG_SEVERAL: f32 = 0.25;

/// The accounts of all configured keys.
#[derive(Debug, Default)]
pub(crate) struct KeyRing {
    accounts: Vec<Arc<Account>>,
}

impl KeyRing {
    /// Creates the accounts of these keys; keys with the same name in `before` keep their quota usage.
    pub(crate) fn new(keys: Vec<Key>, before: Option<&Self>) -> Self {
        let share = if keys.len() > 1 { SHARE_AMONG_SEVERAL } else { 1.0 };
        let known = |id: &str| before?.accounts.iter().find(|account| account.key().id == id);
        let account = |(index, key): (usize, Key)| {
            let known = known(&key.id).map(|account| &**account);
            Arc::new(Account::new(key, (index, share), known))
        };
        Self { accounts: keys.into_iter().enumerate().map(account).collect() }
    }

    /// Whether no keys are configured, so that no request needs one.
    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Whether one of the keys is an admin key.
    pub(crate) fn has_admin(&self) -> bool {
        self.accounts.iter().any(|account| account.key().admin)
    }

    /// The account of a tenant; `None` if it has none or its key has expired.
    pub(crate) fn of(&self, tenant: &Tenant, now: SystemTime) -> Option<Arc<Account>> {
        self.accounts
            .iter()
            .find(|account| account.tenant() == *tenant)
            .filter(|known| known.holds(now))
            .cloned()
    }

    /// The account of a presented key; `None` if the key is unknown or has expired. All digests are compared, each
    /// in constant time, so that timing reveals neither a match nor its position.
    pub(crate) fn find(&self, presented: &[u8], now: SystemTime) -> Option<Arc<Account>> {
        let digest = digest_of(presented);
        let mut found = u64::MAX;
        for (index, account) in self.accounts.iter().enumerate() {
            found.conditional_assign(&(index as u64), account.key().digest.ct_eq(&digest));
        }
        self.accounts.get(usize::try_from(found).ok()?).filter(|known| known.holds(now)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::key_file::read_keys, *};

    #[test]
    fn each_key_is_found_at_whatever_place_and_figures_name_the_first_ones() {
        let entry = |index: usize| {
            let digest: String =
                digest_of(format!("key {index}").as_bytes()).map(|byte| format!("{byte:02x}")).concat();
            format!("[[keys]]\nid = \"k{index}\"\nsha256 = \"{digest}\"\n")
        };
        let text: String = (0..70).map(entry).collect();
        let ring = KeyRing::new(read_keys(&text).unwrap(), None);
        let find = |key: &str| ring.find(key.as_bytes(), SystemTime::now());
        for index in 0..70 {
            let account = find(&format!("key {index}")).unwrap();
            assert_eq!(account.key().id, format!("k{index}"));
            let label = if index < 64 { format!("k{index}") } else { "other".into() };
            assert_eq!(*account.label(), *label);
        }
        for wrong in ["", "key", "key 70", "Key 1", "key 1 "] {
            assert!(find(wrong).is_none(), "{wrong}");
        }
        assert!(KeyRing::default().find(b"key 1", SystemTime::now()).is_none());
    }

    #[test]
    fn a_key_is_none_from_its_last_moment_on() {
        let digest: String = digest_of(b"key").map(|byte| format!("{byte:02x}")).concat();
        let text = format!("[[keys]]\nid = \"a\"\nsha256 = \"{digest}\"\nexpires = 2026-11-26T02:00:00Z\n");
        let ring = KeyRing::new(read_keys(&text).unwrap(), None);
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_658_400);
        for (now, known) in [(end - Duration::from_nanos(1), true), (end, false)] {
            assert_eq!(ring.find(b"key", now).is_some(), known);
            assert_eq!(ring.of(&Tenant("a".into()), now).is_some(), known);
        }
        assert!(!ring.is_empty(), "a server whose keys have all expired is open to nobody");
    }
}
