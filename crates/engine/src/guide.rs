//! Rules for what a critic may write: which tokens can come next, told anew after each token.
//!
//! The engine knows tokens alone. Whoever knows texts and grammars makes a [`Guided`] of them.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use critic::TokenId;

/// What may come next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// One bit for each token, that of token 0 the lowest of the first word; tokens beyond the last word are not allowed.
    pub tokens: Vec<u32>,
    /// Whether the text may also end here.
    pub end: bool,
}

impl Allowed {
    /// Whether `token` may come next.
    pub fn contains(&self, token: TokenId) -> bool {
        let (word, bit) = (token.0 as usize / 32, token.0 % 32);
        self.tokens.get(word).is_some_and(|bits| bits >> bit & 1 == 1)
    }

    /// The tokens that may come next, in order.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = TokenId> {
        let words = (0_u32..).zip(&self.tokens).filter(|(_, bits)| **bits != 0);
        words.flat_map(|(word, bits)| {
            (0..32).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| TokenId(word * 32 + bit))
        })
    }
}

/// What became of a token that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It does not stand: after it no text could be whole within its bound. Another is to be chosen of what is allowed now.
    Refused,
    /// It stands, and the text cannot end here.
    Open,
    /// It stands, and the text is whole, though more may follow.
    Whole,
    /// It stands, and nothing may follow.
    Complete,
}

/// A guide can tell nothing more.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the rules of this text cannot be followed: {0}")]
pub struct Lost(pub String);

/// The rules for one text, while it is written.
///
/// It is asked on the engine's thread, which everybody waits for. Whatever takes long about the next token is therefore to
/// be begun by [`take`](Self::take) on another thread, which has the whole next step of the model to do it in, and is only
/// waited for by [`allowed`](Self::allowed).
pub trait Guide: Send {
    /// What may come next, when `left` tokens more can be written, this one included.
    ///
    /// # Errors
    /// [`Lost`] when that cannot be told.
    fn allowed(&mut self, left: usize) -> Result<&Allowed, Lost>;

    /// Takes a token that was chosen of what is allowed; after it `left` more can be written. Of the tokens that are allowed
    /// at one place one at least is not refused.
    ///
    /// # Errors
    /// [`Lost`] when the token cannot be followed.
    fn take(&mut self, token: TokenId, left: usize) -> Result<Taken, Lost>;
}

impl fmt::Debug for dyn Guide {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Guide")
    }
}

/// Rules before any text is written by them.
pub trait Rule: Send + Sync {
    /// A guide at the beginning of a text.
    fn begin(&self) -> Box<dyn Guide>;
}

/// Rules with a name: two of the same name are the same rules, so that one text serves two requests that are equal otherwise.
#[derive(Clone)]
pub struct Guided {
    name: [u8; 32],
    rule: Arc<dyn Rule>,
}

impl Guided {
    /// Rules by the digest of all that they depend on.
    pub fn new(name: [u8; 32], rule: Arc<dyn Rule>) -> Self {
        Self { name, rule }
    }

    /// A guide at the beginning of a text.
    pub(crate) fn begin(&self) -> Box<dyn Guide> {
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
