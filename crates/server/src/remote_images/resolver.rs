//! Names to addresses, all of which must be public.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::addresses::{is_own, is_public};

/// Looks names up once, and gives connections the addresses that it has checked and no others.
#[derive(Debug)]
pub(super) struct CheckedResolver;

/// A name leads to an address where nothing is fetched.
#[derive(Debug)]
struct NotPublic(IpAddr);

impl fmt::Display for NotPublic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is no public address", self.0)
    }
}

impl std::error::Error for NotPublic {}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Vec<SocketAddr> = checked(found)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The addresses, if there are any and each of them is public: a name that also leads inside is not trusted.
fn checked(
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let addresses: Vec<SocketAddr> = found.collect();
    match addresses.iter().map(SocketAddr::ip).find(|address| !is_public(*address) || is_own(*address)) {
        Some(inside) => Err(NotPublic(inside).into()),
        None if addresses.is_empty() => Err(io::Error::from(io::ErrorKind::NotFound).into()),
        None => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(addresses: &[&str]) -> bool {
        checked(addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0))).is_ok()
    }

    #[test]
    fn one_bad_address_is_enough() {
        assert!(check(&["1.1.1.1", "2606:4700::1111"]));
        for addresses in [
            &["10.0.0.1"][..],
            &["1.1.1.1", "127.0.0.1"],
            &["1.1.1.1", "fd00::1"],
            &["::ffff:1.1.1.1"],
            &["169.254.169.254", "1.1.1.1"],
            &[],
        ] {
            assert!(!check(addresses), "{addresses:?}");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_leads_nowhere() {
        for name in ["localhost", "LOCALHOST", "127.0.0.1"] {
            assert!(CheckedResolver.resolve(name.parse().unwrap()).await.is_err(), "{name}");
        }
    }
}
