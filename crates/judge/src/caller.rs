//! For whom work is done, how much of it, and until when.

use std::{fmt::Debug, sync::Arc, time::Instant};

use engine::{Patience, Tenant, Terms, Urgency};
use sha2::{Digest, Sha256};

use crate::receipt::Sha;

/// For whom a request is run. The default is one tenant for all, without bounds of its own and without a deadline.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Whose request it is: tenants share the device fairly, and never what is kept of their prompts.
    pub tenant: Tenant,
    /// What its tenant is granted of the waiting line and of the device.
    pub terms: Terms,
    /// What its tenant may have computed; without one, all there is.
    pub allowance: Option<Arc<dyn Allowance>>,
    /// When the answer is of no more use.
    pub deadline: Option<Instant>,
    /// How long it waits for the first of its work to be begun; without one until the deadline.
    pub patience: Option<Patience>,
    /// How soon the answer is wanted.
    pub urgency: Urgency,
}

impl Caller {
    /// Names those who may find what is remembered for it: its tenant, and of it those with the same salt.
    pub(crate) fn scope(&self) -> Sha {
        let (tenant, salt) = (&self.tenant.0, &self.terms.cache_salt);
        let digest = Sha256::new()
            .chain_update(tenant.len().to_le_bytes())
            .chain_update(tenant.as_bytes())
            .chain_update(salt.as_bytes());
        digest.finalize().into()
    }
}

/// Work that is about to wait for the critic.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// Tokens of the prompt, images included, and the most that the reply can have.
    pub tokens: usize,
    /// The images of the prompt by what they show; frames of a video are images too.
    pub images: &'a [[u8; 32]],
}

/// What may be computed for somebody. The work of one request asks the same allowance.
pub trait Allowance: Debug + Send + Sync {
    /// Takes what the work needs, whole or not at all.
    ///
    /// # Errors
    /// When that is more than is left.
    fn take(&self, work: Work<'_>) -> Result<(), Exhausted>;

    /// Gives tokens back that were taken and not used.
    fn give_back(&self, tokens: usize);
}

/// What is counted each minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Requests.
    Requests,
    /// Tokens, read and written.
    Tokens,
    /// Images.
    Images,
}

impl Quota {
    /// Its name, as it is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Images => "images",
        }
    }
}

/// More was asked for than is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// Of what.
    pub quota: Quota,
    /// How much there is each minute.
    pub limit: u64,
    /// How much was asked for.
    pub asked: u64,
    /// When that much will be left, in seconds; never, if it is more than there is each minute.
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

/// Tokens that were taken from an allowance: what is not used by the end goes back.
#[derive(Debug)]
pub(crate) struct Reservation {
    allowance: Option<Arc<dyn Allowance>>,
    tokens: usize,
    used: usize,
}

impl Reservation {
    /// Takes what `work` needs.
    ///
    /// # Errors
    /// When that is more than is left.
    pub(crate) fn new(caller: &Caller, work: Work<'_>) -> Result<Self, Exhausted> {
        let allowance = caller.allowance.clone();
        if let Some(allowance) = &allowance {
            allowance.take(work)?;
        }
        Ok(Self { allowance, tokens: work.tokens, used: 0 })
    }

    /// Notes how many tokens were used so far.
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
