//! Options of `gavel serve` for fetching images.

use std::time::Duration;

use clap::Args;

use super::numbers::some_seconds;
use crate::remote_images::{AllowedHost, FetchLimits, Policy, RemoteImages};

/// The hosts that images may be fetched from; none by default.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Images")]
pub(crate) struct ImageOptions {
    /// Hosts from which images are fetched when a request contains their URLs: names, `*.` and a name for all names
    /// below it, or addresses. A host without a port is reached at ports 80 and 443 and must have public addresses;
    /// one with a port, such as `127.0.0.1:8000`, is reached at that port only, and an address with a port need not
    /// be public.
    #[arg(long, value_delimiter = ',')]
    pub(crate) allow_image_hosts: Vec<AllowedHost>,
    /// Fetch images from any host on the public Internet: clients then choose what this server requests.
    #[arg(long)]
    pub(crate) allow_any_public_image_host: bool,
    /// Timeout for connecting to such a host, in seconds.
    #[arg(long, default_value_t = 3.0, value_parser = some_seconds)]
    pub(crate) image_connect_timeout_s: f64,
    /// Timeout for fetching one image, in seconds.
    #[arg(long, default_value_t = 10.0, value_parser = some_seconds)]
    pub(crate) image_fetch_timeout_s: f64,
}

impl ImageOptions {
    /// Creates the fetcher, which accepts images of at most `bytes` bytes.
    ///
    /// # Errors
    /// If the HTTP client cannot be created.
    pub(crate) fn fetcher(self, bytes: usize) -> reqwest::Result<RemoteImages> {
        let limits = FetchLimits {
            bytes,
            connect: Duration::from_secs_f64(self.image_connect_timeout_s),
            whole: Duration::from_secs_f64(self.image_fetch_timeout_s),
        };
        match (self.allow_any_public_image_host, self.allow_image_hosts) {
            (false, hosts) if hosts.is_empty() => Ok(RemoteImages::default()),
            (false, hosts) => RemoteImages::new(Policy::Hosts(hosts), limits),
            (true, hosts) => RemoteImages::new(Policy::AnyPublic(hosts), limits),
        }
    }
}
