//! Images that are fetched for a client: from hosts that the operator named, and from nowhere by default.
//!
//! Whoever can make a server fetch can reach what only that server can reach. So a URL is read once, its host is looked
//! up once, and every address is held to a table before a connection is made; what goes wrong is told in one way, since
//! a closed port must not look unlike a forbidden one.

mod addresses;
mod fetch;
mod hosts;
mod policy;
mod resolver;
#[cfg(test)]
mod tests;

pub(crate) use addresses::is_public;
pub(crate) use fetch::{FetchLimits, RemoteImages};
pub(crate) use hosts::AllowedHost;
pub(crate) use policy::{ImageUrl, Policy};

/// Why an image is not fetched. There is one reason on purpose: the log has the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotFetched;
