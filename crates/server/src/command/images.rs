//! From where images may be fetched.

use clap::Args;

use crate::remote_images::{AllowedHost, Policy, RemoteImages};

/// From where images may be fetched; by default from nowhere.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Images")]
pub(crate) struct ImageOptions {
    /// Hosts from which images are fetched when a request has their URLs: names, `*.` and a name for all below it, or
    /// addresses. A host is asked at ports 80 and 443 and must have public addresses; one with a port, such as
    /// `127.0.0.1:8000`, is asked at that port, and an address with a port may be any.
    #[arg(long, value_delimiter = ',')]
    pub(crate) allow_image_hosts: Vec<AllowedHost>,
    /// Fetch images from any host on the public Internet: clients choose what this server asks for.
    #[arg(long)]
    pub(crate) allow_any_public_image_host: bool,
}

impl ImageOptions {
    /// What fetches them.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub(crate) fn fetcher(self) -> reqwest::Result<RemoteImages> {
        match (self.allow_any_public_image_host, self.allow_image_hosts) {
            (false, hosts) if hosts.is_empty() => Ok(RemoteImages::default()),
            (false, hosts) => RemoteImages::new(Policy::Hosts(hosts)),
            (true, hosts) => RemoteImages::new(Policy::AnyPublic(hosts)),
        }
    }
}
