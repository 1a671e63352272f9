//! How many connections each address has.

use std::{collections::HashMap, net::IpAddr, sync::PoisonError};

use crate::sync::{Arc, Mutex};

/// Bounds the connections of each address. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct AddressLimit {
    most: usize,
    /// Those that have any, so that it is never larger than the number of connections. A lock that is held to count.
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection of an address, until it is dropped.
#[derive(Debug)]
pub(crate) struct OfAddress {
    limit: AddressLimit,
    address: IpAddr,
}

impl AddressLimit {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// One connection more; nothing when the address has as many as it may.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<OfAddress> {
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

    /// Whether no address has any.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
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
