//! Fetches images, with limits on size, time and concurrency.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Client, ClientBuilder, Response, StatusCode, header, redirect};
use tokio::sync::Semaphore;

use super::{
    ImageUrl, NotFetched, Policy,
    resolver::{CheckedResolver, Names, SystemNames},
};

/// The limits for fetching one image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchLimits {
    /// The largest size in bytes.
    pub(crate) bytes: usize,
    /// Timeout for connecting.
    pub(crate) connect: Duration,
    /// Timeout for the whole fetch.
    pub(crate) whole: Duration,
}

/// The most concurrent fetches: enough for a few requests, so that one with slow hosts does not delay the others.
/// Each may use the memory of the largest image, by default 20 MiB; together 640 MiB.
const MAX_FETCHES: usize = 32;
/// The most concurrent fetches from one host, so that a slow host does not delay the others.
const MAX_FETCHES_FROM_A_HOST: usize = 4;

/// Fetches images as the operator allows. Cheap to clone. The default fetches nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct RemoteImages(Option<Arc<Fetcher>>);

#[derive(Debug)]
struct Fetcher {
    policy: Policy,
    limits: FetchLimits,
    client: Client,
    /// One permit for each fetch of [`MAX_FETCHES`].
    all: Semaphore,
    /// The semaphores of hosts with fetches in progress. The lock is held only to look up or insert an entry.
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl RemoteImages {
    /// Creates a fetcher for the URLs that `policy` allows.
    ///
    /// # Errors
    /// If the HTTP client cannot be created.
    pub(crate) fn new(policy: Policy, limits: FetchLimits) -> reqwest::Result<Self> {
        Self::with((policy, limits), (Arc::new(SystemNames), Client::builder()))
    }

    /// Like [`new`](Self::new), with name resolution by `names`, and with the settings of `builder`.
    pub(super) fn with(
        (policy, limits): (Policy, FetchLimits),
        (names, builder): (Arc<dyn Names>, ClientBuilder),
    ) -> reqwest::Result<Self> {
        let client = builder
            .dns_resolver(Arc::new(CheckedResolver(names)))
            // A proxy from the environment would connect to addresses that were never checked.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .http1_only()
            .user_agent(concat!("gavel/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(limits.connect)
            .timeout(limits.whole)
            .pool_max_idle_per_host(0)
            .build()?;
        let (all, hosts) = (Semaphore::new(MAX_FETCHES), Mutex::default());
        Ok(Self(Some(Arc::new(Fetcher { policy, limits, client, all, hosts }))))
    }

    /// Whether fetching is disabled.
    pub(crate) fn is_off(&self) -> bool {
        self.0.is_none()
    }

    /// Parses the URL in `text`, if it may be fetched.
    ///
    /// # Errors
    /// [`NotFetched`] for every other URL.
    pub(crate) fn check(&self, text: &str) -> Result<ImageUrl, NotFetched> {
        self.0.as_ref().ok_or(NotFetched)?.policy.check(text)
    }

    /// Fetches the bytes at `url`. They are not cached.
    ///
    /// # Errors
    /// [`NotFetched`], whatever the reason, so that clients cannot tell reasons apart.
    pub(crate) async fn fetch(&self, url: ImageUrl) -> Result<Vec<u8>, NotFetched> {
        self.0.as_ref().ok_or(NotFetched)?.fetch(url).await
    }
}

impl Fetcher {
    async fn fetch(&self, url: ImageUrl) -> Result<Vec<u8>, NotFetched> {
        let host = self.host(url.host());
        // The semaphores are never closed.
        let _of_host = host.acquire().await.map_err(|_| NotFetched)?;
        let _of_all = self.all.acquire().await.map_err(|_| NotFetched)?;
        // Only the host is logged: the rest of the URL may contain a secret.
        let name = url.host().to_owned();
        let failure = match tokio::time::timeout(self.limits.whole, self.download(url)).await {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(failure)) => failure,
            Err(_elapsed) => FetchError::TooSlow,
        };
        tracing::debug!(host = name, reason = failure.to_string(), "an image was not fetched");
        Err(NotFetched)
    }

    async fn download(&self, url: ImageUrl) -> Result<Vec<u8>, FetchError> {
        let mut response = self.client.get(url.into_url()).send().await.map_err(FetchError::request)?;
        check(&response, self.limits.bytes)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(FetchError::request)? {
            if bytes.len() + chunk.len() > self.limits.bytes {
                return Err(FetchError::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn host(&self, name: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(name) {
            return host.clone();
        }
        // Remove the hosts without a fetch in progress.
        hosts.retain(|_, host| Arc::strong_count(host) > 1);
        hosts
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(MAX_FETCHES_FROM_A_HOST)))
            .clone()
    }
}

/// Why an image was not fetched. Only the log has it; clients get [`NotFetched`].
#[derive(Debug, thiserror::Error)]
enum FetchError {
    /// There is no response, or it broke off. The message contains the causes.
    #[error("{0:?}")]
    Request(#[source] reqwest::Error),
    /// The status is not 200.
    #[error("the status is {0}")]
    Status(StatusCode),
    /// The response has a content encoding.
    #[error("it is compressed, which nobody asked for")]
    Compressed,
    /// The image is larger than the limit, or the response says so.
    #[error("it is too large")]
    TooLarge,
    /// The whole fetch took longer than the limit.
    #[error("it took too long")]
    TooSlow,
}

impl FetchError {
    /// The error of the client, without the URL, which may contain a secret.
    fn request(error: reqwest::Error) -> Self {
        Self::Request(error.without_url())
    }
}

/// Checks the head of a response: refuses a status other than 200, a content encoding, and a declared length above
/// `most` bytes.
fn check(response: &Response, most: usize) -> Result<(), FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(FetchError::Compressed);
    }
    if response.content_length().is_some_and(|length| length > most as u64) {
        return Err(FetchError::TooLarge);
    }
    Ok(())
}
