//! Limits the number of connections per client address, or per network of IPv6 addresses.

use std::{collections::HashMap, net::IpAddr, sync::PoisonError};

use crate::{
    connections::client_network::network,
    sync::{Arc, Mutex},
};

/// The limit on connections per address. Clones share the same counts.
#[derive(Debug, Clone)]
pub(crate) struct AddressLimit {
    most: usize,
    /// Open connections per address. Addresses without any are removed, so the map has at most as many entries as
    /// there are connections. The lock is held only to count.
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Counts a connection of an address until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    limit: AddressLimit,
    address: IpAddr,
}

impl AddressLimit {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// Counts a new connection; `None` if the address already has the maximum.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<ConnectionSlot> {
        let address = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(ConnectionSlot { limit: self.clone(), address })
    }

    /// Whether no connection is counted.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Drop for ConnectionSlot {
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
