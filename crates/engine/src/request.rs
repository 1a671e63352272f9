//! The requests to an engine.

use std::{sync::Arc, time::Instant};

use critic::{Encoded, SamplingParams, TokenId};

use crate::{
    decoding::{guide::Guided, labels::Labels},
    queue::timeout::QueueTimeout,
};

/// A piece of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// Text that the critic writes freely, until it ends its turn or has written this many tokens.
    Generate(usize),
    /// Text that the critic writes by rules, which may also end it.
    GenerateBy {
        /// The maximum number of tokens.
        tokens: usize,
        /// The rules of the text.
        rules: Guided,
    },
    /// Fixed tokens, whatever the critic would write.
    Fixed(Vec<TokenId>),
    /// One of several labels: the most probable one, or one sampled by the labels' probabilities.
    Choice {
        /// The labels.
        labels: Labels,
        /// Whether the probability of each label is reported, which requires the logits after every shared prefix.
        /// Without it, only as many are read as are needed to find the most probable label.
        distribution: bool,
    },
    /// The reward head's number at the last token so far. No token is added.
    Reward,
}

impl Part {
    /// The maximum number of tokens that this piece can add.
    pub fn max_tokens(&self) -> usize {
        match self {
            Self::Generate(tokens) | Self::GenerateBy { tokens, .. } => *tokens,
            Self::Fixed(tokens) => tokens.len(),
            Self::Choice { labels, .. } => labels.longest(),
            Self::Reward => 0,
        }
    }
}

/// The kind of a request's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// A verdict read from the logits after the prompt.
    Score,
    /// Text generated token by token.
    Explain,
}

/// The urgency of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A client waits for the answer.
    #[default]
    Now,
    /// The request may wait as long as there are urgent ones, without a limit.
    Background,
}

/// The tenant of a request. Tenants share the device fairly and never share cached prompts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(pub Arc<str>);

/// The rights of a tenant relative to others, and its cache salt.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Its share of the tokens relative to a tenant of weight 1 while both wait. At least 1.
    pub weight: u32,
    /// The fraction of the queue that it may use, in requests and in tokens; 1 is all of it.
    pub queue_share: f32,
    /// Only requests of the same tenant with the same salt share cached prompts.
    pub cache_salt: Arc<str>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { weight: 1, queue_share: 1.0, cache_salt: "".into() }
    }
}

/// The client of a request, and the times within which it needs the answer. The default is the only tenant, which waits
/// as long as it takes.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The tenant: tenants share the device fairly, and never share cached prompts.
    pub tenant: Tenant,
    /// The tenant's rights in the queue and on the device.
    pub terms: Terms,
    /// The urgency of the answer.
    pub urgency: Urgency,
    /// The time after which the answer is useless.
    pub deadline: Option<Instant>,
    /// How long the request may wait until the first of its sequences is started; without it, until the deadline.
    pub queue_timeout: Option<QueueTimeout>,
}

/// A request for one reply.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt.
    pub encoded: Encoded,
    /// The sampling parameters.
    pub sampling: SamplingParams,
    /// The pieces of the reply, in order; it is complete when the last one is.
    pub script: Vec<Part>,
    /// Each of these tokens ends what the critic writes and is not part of it; may be empty.
    pub end_tokens: Vec<TokenId>,
    /// For whom it is, and until when.
    pub client: Client,
}

impl Request {
    /// The maximum number of tokens of the reply.
    pub fn max_reply_tokens(&self) -> usize {
        self.script.iter().map(Part::max_tokens).sum()
    }

    /// The kind of its work.
    pub fn lane(&self) -> Lane {
        let writes = |part: &Part| match part {
            Part::Generate(tokens) | Part::GenerateBy { tokens, .. } => *tokens > 0,
            Part::Fixed(_) | Part::Choice { .. } | Part::Reward => false,
        };
        if self.script.iter().any(writes) { Lane::Explain } else { Lane::Score }
    }
}
