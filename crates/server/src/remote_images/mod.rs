//! Fetches images for clients, from hosts that the operator allows; by default from none.
//!
//! A client that can make a server fetch URLs can reach whatever that server can reach (SSRF). Therefore a URL is
//! parsed once, its host is resolved once, and every address is checked before a connection is made. All failures
//! are reported alike, because a closed port must not be distinguishable from a forbidden one.

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

/// The image was not fetched. Deliberately without a reason, which is only logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotFetched;
