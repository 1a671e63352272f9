//! How many connections each address has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Bounds the connections of each address. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct AddressLimit {
    most: usize,
    /// Those that have any, so that it is never larger than the number of connections. A lock that is held to count.
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection of an address, until it is dropped.
#[derive(Debug)]
pub(super) struct OfAddress {
    limit: AddressLimit,
    address: IpAddr,
}

impl AddressLimit {
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// One connection more; nothing when the address has as many as it may.
    pub(super) fn enter(&self, address: IpAddr) -> Option<OfAddress> {
        // However it is written, it is one address.
        let address = address.to_canonical();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(OfAddress { limit: self.clone(), address })
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut open = self.limit.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_is_forgotten_with_its_last() {
        let limit = AddressLimit::new(2);
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let first = limit.enter(address).unwrap();
        let second = limit.enter("::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert!(limit.enter(address).is_none());
        assert!(limit.enter("10.0.0.2".parse().unwrap()).is_some());
        drop(first);
        assert!(limit.enter(address).is_some());
        drop(second);
        assert!(limit.open.lock().unwrap().is_empty());
    }
}
