//! Sequential tests of the address limit. `tests/interleavings.rs` tests concurrent connections.

use std::net::IpAddr;

use super::address_limit::*;

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
    assert!(limit.is_idle());
}
