//! Rules for the text that a critic writes: the tokens allowed next, recomputed after each token.
//!
//! The engine handles tokens only. Crates that know texts and grammars build a [`Guided`] from them.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use critic::TokenId;

/// The tokens allowed next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// A bit mask over the tokens; token 0 is the lowest bit of the first word. Tokens beyond the last word are not
    /// allowed.
    pub tokens: Vec<u32>,
    /// Whether the text may also end here.
    pub end: bool,
}

impl Allowed {
    /// Whether `token` is allowed next.
    pub fn contains(&self, token: TokenId) -> bool {
        let (word, bit) = (token.0 as usize / 32, token.0 % 32);
        self.tokens.get(word).is_some_and(|bits| bits >> bit & 1 == 1)
    }

    /// The allowed tokens in ascending order.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = TokenId> {
        let words = (0_u32..).zip(&self.tokens).filter(|(_, bits)| **bits != 0);
        words.flat_map(|(word, bits)| {
            (0..32).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| TokenId(word * 32 + bit))
        })
    }
}

/// The result of a chosen token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOutcome {
    /// Rejected: after it, no text could be complete within the token limit. Another allowed token must be chosen.
    Refused,
    /// Accepted, and the text cannot end here.
    Open,
    /// Accepted, and the text is complete, though more may follow.
    Whole,
    /// Accepted, and nothing may follow.
    Complete,
}

/// Why a guide cannot continue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuideError {
    /// The tokens allowed next cannot be found within the guide's bounds on work and memory.
    #[error("the rules of this text became too complex to be followed while it was written")]
    TooComplex,
    /// By the rules, the text can neither end nor go on.
    #[error("by its rules this text can neither end nor go on")]
    DeadEnd,
    /// The guide itself failed.
    #[error("the rules of this text cannot be followed: {0}")]
    Lost(String),
}

/// The rules for one text while it is written.
///
/// Methods are called on the engine's thread, which blocks all requests. Expensive work for the next token should
/// therefore be started by [`take`](Self::take) on another thread, where it can run during the whole next step of
/// the model, and only be awaited by [`allowed`](Self::allowed).
pub trait Guide: Send {
    /// The tokens allowed next, when `left` more tokens can be written, including this one.
    ///
    /// # Errors
    /// [`GuideError`] when they cannot be determined.
    fn allowed(&mut self, left: usize) -> Result<&Allowed, GuideError>;

    /// Takes a token that was chosen among the allowed ones; `left` more can be written after it. At least one of
    /// the tokens allowed at a position must be accepted.
    ///
    /// # Errors
    /// [`GuideError`] when the rules cannot follow the token.
    fn take(&mut self, token: TokenId, left: usize) -> Result<TokenOutcome, GuideError>;
}

impl fmt::Debug for dyn Guide {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Guide")
    }
}

/// Rules from which texts can be started.
pub trait Rule: Send + Sync {
    /// Starts a guide for a new text.
    fn begin(&self) -> Box<dyn Guide>;
}

/// Rules with a digest: equal digests mean equal rules, so that requests that are equal otherwise can share a
/// sequence.
#[derive(Clone)]
pub struct Guided {
    name: [u8; 32],
    rule: Arc<dyn Rule>,
}

impl Guided {
    /// Rules with a digest of everything on which they depend.
    pub fn new(name: [u8; 32], rule: Arc<dyn Rule>) -> Self {
        Self { name, rule }
    }

    /// Starts a guide for a new text.
    pub fn begin(&self) -> Box<dyn Guide> {
        self.rule.begin()
    }
}

impl fmt::Debug for Guided {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Guided").field(&self.name).finish()
    }
}

impl PartialEq for Guided {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Guided {}

impl Hash for Guided {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}
