//! What callers ask of an engine.

use std::{sync::Arc, time::Instant};

use critic::{Encoded, SamplingParams, TokenId};

use crate::{guide::Guided, labels::Labels, patience::Patience};

/// A piece of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// The critic writes as it likes, until it ends its turn or has written this many tokens.
    Write(usize),
    /// The same by rules, which may also end it.
    WriteBy {
        /// The most tokens.
        tokens: usize,
        /// What it may write.
        rules: Guided,
    },
    /// These tokens stand there, whatever the critic would write.
    Say(Vec<TokenId>),
    /// The critic writes one of the labels.
    Choose {
        /// What it may write.
        labels: Labels,
        /// Whether the probability of each label is reported. It costs a look at every beginning that labels share.
        distribution: bool,
    },
    /// The critic's reward head reads a number at the last token so far. Nothing is written.
    Rate,
}

impl Part {
    /// The most tokens that it can add.
    pub fn max_tokens(&self) -> usize {
        match self {
            Self::Write(tokens) | Self::WriteBy { tokens, .. } => *tokens,
            Self::Say(tokens) => tokens.len(),
            Self::Choose { labels, .. } => labels.longest(),
            Self::Rate => 0,
        }
    }
}

/// What a request does to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Reads a verdict from the logits after its prompt.
    Score,
    /// Writes text, token by token.
    Explain,
}

/// How soon a request is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Somebody waits for it.
    #[default]
    Now,
    /// It may wait for as long as others are wanted now, however long that is.
    Whenever,
}

/// Whose request it is. Tenants share the device fairly and never share what is kept of their prompts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(pub Arc<str>);

/// What a tenant is granted beside others, and how it guards itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// How many tokens it gets for each one of a tenant of weight 1 while both wait. At least 1.
    pub weight: u32,
    /// The part of the waiting line that it may take, in requests and in tokens; 1 is all of it.
    pub queue_share: f32,
    /// Only requests of the same tenant with the same salt share what is kept of their prompts.
    pub cache_salt: Arc<str>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { weight: 1, queue_share: 1.0, cache_salt: "".into() }
    }
}

/// One reply to write.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt.
    pub encoded: Encoded,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// The reply, piece by piece; it is complete when the last piece is.
    pub script: Vec<Part>,
    /// Any of these ends what the critic writes and is not part of it; may be empty.
    pub end_tokens: Vec<TokenId>,
    /// Whose request it is.
    pub tenant: Tenant,
    /// What its tenant is granted.
    pub terms: Terms,
    /// When its answer is of no more use.
    pub deadline: Option<Instant>,
    /// How long it waits to be begun; without one until its deadline.
    pub patience: Option<Patience>,
    /// How soon it is wanted.
    pub urgency: Urgency,
}

impl Request {
    /// The most tokens that the reply can have.
    pub fn max_reply_tokens(&self) -> usize {
        self.script.iter().map(Part::max_tokens).sum()
    }

    /// What it does to the device.
    pub fn lane(&self) -> Lane {
        let writes =
            |part: &Part| matches!(part, Part::Write(tokens) | Part::WriteBy { tokens, .. } if *tokens > 0);
        if self.script.iter().any(writes) { Lane::Explain } else { Lane::Score }
    }
}
