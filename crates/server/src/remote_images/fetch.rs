//! The fetching itself: bounded in size, time and number.

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

/// What one image may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchLimits {
    /// Bytes.
    pub(crate) bytes: usize,
    /// Time until a connection has come about.
    pub(crate) connect: Duration,
    /// Time in all.
    pub(crate) whole: Duration,
}

/// Images that are fetched at a time. Each may take the memory of the largest one.
const AT_A_TIME: usize = 32;
/// Of these, from one host: a slow one must not hold up the others.
const AT_A_TIME_FROM_A_HOST: usize = 4;

/// Fetches images where the operator allows it. Cheap to clone. The default fetches nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct RemoteImages(Option<Arc<Fetcher>>);

#[derive(Debug)]
struct Fetcher {
    policy: Policy,
    limits: FetchLimits,
    client: Client,
    all: Semaphore,
    /// Hosts from which something is fetched now. Held only to look up or to put one entry.
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl RemoteImages {
    /// Fetches what `policy` allows.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub(crate) fn new(policy: Policy, limits: FetchLimits) -> reqwest::Result<Self> {
        Self::with((policy, limits), (Arc::new(SystemNames), Client::builder()))
    }

    /// The same with names that `names` knows, and what is set in `builder` beside.
    pub(super) fn with(
        (policy, limits): (Policy, FetchLimits),
        (names, builder): (Arc<dyn Names>, ClientBuilder),
    ) -> reqwest::Result<Self> {
        let client = builder
            .dns_resolver(Arc::new(CheckedResolver(names)))
            // The environment's proxy would connect to what was never checked.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .http1_only()
            .user_agent(concat!("gavel/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(limits.connect)
            .timeout(limits.whole)
            .pool_max_idle_per_host(0)
            .build()?;
        let (all, hosts) = (Semaphore::new(AT_A_TIME), Mutex::default());
        Ok(Self(Some(Arc::new(Fetcher { policy, limits, client, all, hosts }))))
    }

    /// Whether anything is fetched.
    pub(crate) fn is_off(&self) -> bool {
        self.0.is_none()
    }

    /// The URL in `text`, if it may be fetched.
    ///
    /// # Errors
    /// For every other one.
    pub(crate) fn check(&self, text: &str) -> Result<ImageUrl, NotFetched> {
        self.0.as_ref().ok_or(NotFetched)?.policy.check(text)
    }

    /// The bytes at `url`. Nothing is kept of them.
    ///
    /// # Errors
    /// Whatever goes wrong is the same to a client.
    pub(crate) async fn fetch(&self, url: ImageUrl) -> Result<Vec<u8>, NotFetched> {
        self.0.as_ref().ok_or(NotFetched)?.fetch(url).await
    }
}

impl Fetcher {
    async fn fetch(&self, url: ImageUrl) -> Result<Vec<u8>, NotFetched> {
        let host = self.host(url.host());
        // Semaphores are never closed.
        let _of_host = host.acquire().await.map_err(|_| NotFetched)?;
        let _of_all = self.all.acquire().await.map_err(|_| NotFetched)?;
        // The host alone: what stands after it may be a secret.
        let name = url.host().to_owned();
        let reason = match tokio::time::timeout(self.limits.whole, self.download(url)).await {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(reason)) => reason,
            Err(_elapsed) => "it took too long".to_owned(),
        };
        tracing::debug!(host = name, reason, "an image was not fetched");
        Err(NotFetched)
    }

    async fn download(&self, url: ImageUrl) -> Result<Vec<u8>, String> {
        let told = |error: reqwest::Error| {
            let error = error.without_url();
            format!("{:?}", &error as &dyn std::error::Error)
        };
        let mut response = self.client.get(url.into_url()).send().await.map_err(told)?;
        check(&response, self.limits.bytes)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if bytes.len() + chunk.len() > self.limits.bytes {
                return Err("it is too large".into());
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
        // Those that nobody holds any more.
        hosts.retain(|_, host| Arc::strong_count(host) > 1);
        hosts
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(AT_A_TIME_FROM_A_HOST)))
            .clone()
    }
}

/// Refuses what is no whole image as it stands, or has more bytes than `most`, by the head alone.
fn check(response: &Response, most: usize) -> Result<(), String> {
    if response.status() != StatusCode::OK {
        return Err(format!("the status is {}", response.status()));
    }
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err("it is compressed, which nobody asked for".into());
    }
    if response.content_length().is_some_and(|length| length > most as u64) {
        return Err("it is too large".into());
    }
    Ok(())
}
