//! Replies of a certain shape: a JSON document of a schema, a text of a pattern, one of several texts.
//!
//! The one place that knows grammars. A [`Shape`] is compiled into rules that the engine's guide follows token by token; what is
//! compiled is kept for the next request. `ending` looks for short ways to the end, so that a text is whole when its bound
//! of tokens comes.

mod ending;
mod following;
mod position;
mod schema;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use critic::Processor;
use engine::Guided;
use llguidance::{Matcher, api::TopLevelGrammar};
use lru::LruCache;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use ending::Ways;
use following::Compiled;
use position::Position;
use vocabulary::Vocabulary;

/// Grammars that are kept: an evaluation uses one or a few, and each takes about a megabyte.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("it is not 0");
/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 8 << 10;
/// How many texts there may be to choose from, and their bytes together.
const MAX_TEXTS: (usize, usize) = (1000, 64 << 10);

/// What a reply must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A JSON object, whatever is in it.
    Object,
    /// A JSON document that is valid under this schema.
    Schema(Value),
    /// A text that matches this regular expression as a whole.
    Pattern(String),
    /// One of these texts.
    OneOf(Vec<String>),
}

/// Why no reply can be held to a shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// It is longer than what is compiled while others wait.
    #[error("it has {bytes} bytes; {most} are compiled at most")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest.
        most: usize,
    },
    /// Its parts stand inside each other too deep.
    #[error("its parts stand inside each other more than {most} deep")]
    TooDeep {
        /// The deepest.
        most: usize,
    },
    /// It makes no sense, asks for what cannot be held to token by token, or would take too much work.
    #[error("{0}")]
    Refused(String),
}

impl GrammarError {
    /// What the compiler said.
    fn refused(error: impl std::fmt::Display) -> Self {
        Self::Refused(format!("{error:#}"))
    }
}

/// The shapes that were asked for latest, as one critic's rules.
#[derive(Default)]
pub(crate) struct Grammars {
    /// Made when the first shape is asked for, since most servers see none and it has every token of the critic.
    vocabulary: OnceLock<Result<Arc<Vocabulary>, GrammarError>>,
    /// Held only to look up or to put one entry, never while a grammar is compiled: two that compile the same one at a time
    /// make it twice.
    kept: Mutex<Option<LruCache<[u8; 32], Guided>>>,
}

impl Grammars {
    /// The rules for `shape`, if they are kept.
    pub(crate) fn kept(&self, shape: &Shape) -> Option<Guided> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_mut()?.get(&name(shape)).cloned()
    }

    /// Makes the rules for `shape`, which takes up to some hundred milliseconds; `runtime` computes for them what the engine
    /// need not wait for.
    pub(crate) fn compile(
        &self,
        shape: &Shape,
        processor: &dyn Processor,
        runtime: Handle,
    ) -> Result<Guided, GrammarError> {
        let vocabulary = self.vocabulary.get_or_init(|| Vocabulary::of(processor).map(Arc::new)).clone()?;
        let compiled = compile(shape, vocabulary, runtime)?;
        let name = name(shape);
        let guided = Guided::new(name, Arc::new(compiled));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert_with(|| LruCache::new(KEPT)).put(name, guided.clone());
        Ok(guided)
    }
}

/// The rules for `shape` over a vocabulary.
fn compile(shape: &Shape, vocabulary: Arc<Vocabulary>, runtime: Handle) -> Result<Compiled, GrammarError> {
    let (grammar, position) = grammar(shape)?;
    let needed = match shape {
        Shape::Schema(schema) => schema::needed(schema),
        Shape::Object | Shape::Pattern(_) | Shape::OneOf(_) => Vec::new(),
    };
    // What can be opened with one token is closed with about as many as its schema has letters.
    let slack = 64 + schema_length(shape);
    let matcher = Matcher::new(vocabulary.factory.create_parser(grammar));
    if let Some(error) = matcher.get_error() {
        return Err(GrammarError::Refused(error));
    }
    Compiled::new(Ways { vocabulary, needed }, (matcher, position), slack, runtime)
}

/// The digest of a shape.
fn name(shape: &Shape) -> [u8; 32] {
    Sha256::digest(format!("{shape:?}")).into()
}

fn schema_length(shape: &Shape) -> usize {
    match shape {
        Shape::Object => 0,
        Shape::Schema(schema) => schema.to_string().len(),
        Shape::Pattern(pattern) => pattern.len(),
        Shape::OneOf(texts) => texts.iter().map(String::len).max().unwrap_or(0),
    }
}

/// The pattern without the anchors at its ends, since the whole text matches anyway.
fn unanchored(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    match pattern.strip_suffix('$') {
        Some(inner) if !inner.ends_with('\\') => inner,
        _ => pattern,
    }
}

/// The shape as the compiler reads it, and where its texts begin when they are documents.
fn grammar(shape: &Shape) -> Result<(TopLevelGrammar, Option<Position>), GrammarError> {
    Ok(match shape {
        Shape::Object => (
            TopLevelGrammar::from_json_schema(schema::narrowed(schema::any_object())?),
            Some(Position::start()),
        ),
        Shape::Schema(given) => {
            (TopLevelGrammar::from_json_schema(schema::narrowed(given.clone())?), Some(Position::start()))
        }
        Shape::Pattern(pattern) if pattern.len() > MAX_PATTERN => {
            return Err(GrammarError::TooLarge { bytes: pattern.len(), most: MAX_PATTERN });
        }
        Shape::Pattern(pattern) => (TopLevelGrammar::from_regex(unanchored(pattern)), None),
        Shape::OneOf(texts) => {
            let bytes: usize = texts.iter().map(String::len).sum();
            if texts.is_empty() || texts.iter().any(String::is_empty) {
                return Err(GrammarError::Refused(
                    "there must be texts to choose from, and none empty".into(),
                ));
            }
            if texts.len() > MAX_TEXTS.0 || bytes > MAX_TEXTS.1 {
                return Err(GrammarError::TooLarge { bytes, most: MAX_TEXTS.1 });
            }
            let quoted: Vec<String> =
                texts.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
            (TopLevelGrammar::from_lark(format!("start: {}", quoted.join(" | "))), None)
        }
    })
}
