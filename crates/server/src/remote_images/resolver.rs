//! Resolves names to addresses, all of which must be public.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::addresses::{is_own, is_public};

/// A source of addresses for names.
pub(super) trait Names: fmt::Debug + Send + Sync {
    /// Looks up all addresses of a name.
    fn look_up(&self, name: String) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
}

/// The system's resolver.
#[derive(Debug)]
pub(super) struct SystemNames;

impl Names for SystemNames {
    fn look_up(&self, name: String) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    }
}

/// Resolves a name once per connection, and returns only addresses that it has checked.
#[derive(Debug)]
pub(super) struct CheckedResolver(pub(super) Arc<dyn Names>);

/// A name resolved to an address from which nothing is fetched.
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
        let found = self.0.look_up(name.as_str().to_owned());
        Box::pin(async move {
            let addresses = checked(found.await?)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Returns the addresses if there are any and all of them are public: a name with an internal address is not
/// trusted at all.
fn checked(addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
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
        let addresses = addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0));
        checked(addresses.collect()).is_ok()
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
            let resolver = CheckedResolver(Arc::new(SystemNames));
            assert!(resolver.resolve(name.parse().unwrap()).await.is_err(), "{name}");
        }
    }
}
