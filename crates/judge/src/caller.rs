//! The client of a request: its tenant, its limits and its deadlines.

use std::{fmt::Debug, sync::Arc};

use engine::{Client, Ticket};
use sha2::{Digest, Sha256};

use crate::receipt::Sha;

/// The client of one request. The default is a single tenant for all requests, without limits of its own and
/// without a deadline.
///
/// A clone belongs to the same request as its original, since it has the same [`ticket`](Self::ticket). A program
/// that judges many cases from one template gives each of them a new ticket:
/// `Caller { ticket: Ticket::default(), ..template.clone() }`.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The tenant, its rights, and until when it needs the answer.
    pub client: Client,
    /// The tenant's quota of computation; `None` for no limit.
    pub allowance: Option<Arc<dyn Allowance>>,
    /// The ticket by which all sequences of the request are accepted into the queue, or rejected, as a whole.
    /// Clones belong to the same request; each default belongs to a new one. All requests with one ticket count as
    /// one, and once one of them was rejected for lack of room, all later ones are.
    pub ticket: Ticket,
}

impl Caller {
    /// A digest of the tenant and its salt, which limits the callers that can find cached results.
    pub(crate) fn scope(&self) -> Sha {
        let (tenant, salt) = (&self.client.tenant.0, &self.client.terms.cache_salt);
        let digest = Sha256::new()
            .chain_update(tenant.len().to_le_bytes())
            .chain_update(tenant.as_bytes())
            .chain_update(salt.as_bytes());
        digest.finalize().into()
    }
}

/// Work about to be submitted to the critic.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// Number of prompt tokens, including images, plus the maximum of the reply.
    pub tokens: usize,
    /// Content hashes of the prompt's images, including the frames of videos.
    pub images: &'a [[u8; 32]],
}

/// A quota of computation. All work of one request uses the same allowance.
pub trait Allowance: Debug + Send + Sync {
    /// Takes what the work needs, or nothing.
    ///
    /// # Errors
    /// [`Exhausted`] when not enough is left.
    fn take(&self, work: Work<'_>) -> Result<(), Exhausted>;

    /// Returns tokens that were taken and not used.
    fn give_back(&self, tokens: usize);
}

/// A quantity with a limit per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Number of requests.
    Requests,
    /// Number of tokens, read and written.
    Tokens,
    /// Number of images.
    Images,
}

impl Quota {
    /// The name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Images => "images",
        }
    }
}

/// More was requested than is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// The exhausted quota.
    pub quota: Quota,
    /// The limit per minute.
    pub limit: u64,
    /// The requested amount.
    pub asked: u64,
    /// Seconds until that much will be left; `None` if it exceeds the limit per minute.
    pub retry_after_s: Option<u64>,
}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { quota, limit, asked, retry_after_s } = self;
        let what = quota.as_str();
        write!(formatter, "the limit of {limit} {what} each minute leaves no room for {asked}")?;
        match retry_after_s {
            Some(seconds) => write!(formatter, " within {seconds} s"),
            None => write!(formatter, ", and never will"),
        }
    }
}

impl std::error::Error for Exhausted {}

/// Tokens taken from an allowance. Unused ones are returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    allowance: Option<Arc<dyn Allowance>>,
    tokens: usize,
    used: usize,
}

impl Reservation {
    /// Takes what `work` needs from the caller's allowance.
    ///
    /// # Errors
    /// [`Exhausted`] when not enough is left.
    pub(crate) fn new(caller: &Caller, work: Work<'_>) -> Result<Self, Exhausted> {
        let allowance = caller.allowance.clone();
        if let Some(allowance) = &allowance {
            allowance.take(work)?;
        }
        Ok(Self { allowance, tokens: work.tokens, used: 0 })
    }

    /// Records the number of tokens used so far.
    pub(crate) fn used(&mut self, tokens: usize) {
        self.used = tokens;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(allowance) = &self.allowance {
            allowance.give_back(self.tokens.saturating_sub(self.used));
        }
    }
}
