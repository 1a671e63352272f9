//! Replies of a given shape: a JSON document of a schema, a text that matches a pattern, or one of several texts.
//!
//! Grammars are known here only. A [`Shape`] is compiled into rules that the engine's guide follows token by token;
//! compiled rules are kept for later requests. `ending` finds short endings, so that a text is complete when its
//! token limit is reached.

mod cost;
mod ending;
mod following;
mod pattern;
mod position;
mod schema;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use critic::Processor;
use engine::{GuideError, Guided};
use llguidance::{Matcher, api::TopLevelGrammar};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use cost::Costly;
use ending::Ways;
use following::Compiled;
use pattern::Breadth;
use position::Position;
use vocabulary::Vocabulary;

use crate::byte_cache::ByteCache;

/// Number of compiled grammars, and of refusals, that are kept: an evaluation uses one or a few.
const MOST_KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("it is not 0");
/// Total length of the shapes of what is kept, in bytes. A compiled grammar takes about a megabyte, and up to 400
/// bytes for each byte of its shape.
const MOST_KEPT_BYTES: usize = 512 << 10;
/// Maximum number of texts to choose from.
const MAX_TEXTS: usize = 1000;
/// Maximum total length of the texts to choose from, in bytes.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Maximum length of one text that is given, in bytes: each of its bytes is a state of the automaton, with some hundred
/// bytes, and each text that is written gets its own copy.
const MAX_TEXT: usize = 8 << 10;
/// Maximum length of what the compiler says about a schema, in bytes.
const MAX_REASON: usize = 300;
/// The stack of a thread that compiles: some ten kibibytes for each of the levels that a schema may have, and as much
/// again. Only what is used takes memory.
const STACK_BYTES: usize = 64 << 20;

/// The shape that a reply must have.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Any JSON object with at least one member.
    Object,
    /// A JSON document that is valid under this schema.
    Schema(Value),
    /// A text that matches this regular expression as a whole.
    Pattern(String),
    /// One of these texts.
    OneOf(Vec<String>),
}

/// Why a shape cannot be enforced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// The shape is longer than the limit, which keeps compilation short for other requests.
    #[error("the {what} has {bytes} bytes; {most} are compiled at most")]
    TooLarge {
        /// The part that is too long.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The maximum length in bytes.
        most: usize,
    },
    /// There are more parts of one kind than the limit, which keeps compilation short for other requests.
    #[error("it has {count} {what}; {most} are compiled at most")]
    TooMany {
        /// The kind of parts, in the plural.
        what: &'static str,
        /// The number of parts.
        count: usize,
        /// The maximum number of texts.
        most: usize,
    },
    /// The parts of the schema are nested too deep.
    #[error("its parts stand inside each other, or lead to each other, more than {most} deep")]
    TooDeep {
        /// The maximum depth.
        most: usize,
    },
    /// A part of a pattern is long however briefly it is written.
    #[error("a part of its pattern has {bytes} bytes at least; {most} are compiled at most")]
    TooLong {
        /// The length of that part in bytes.
        bytes: u64,
        /// The maximum length in bytes.
        most: u64,
    },
    /// The tokens allowed next cannot be found within the bounds on work and memory.
    #[error(
        "its patterns, values and bounds are too many or too large together to be followed token by token"
    )]
    TooComplex,
    /// No text has this shape.
    #[error("no text satisfies it")]
    Unsatisfiable,
    /// The system starts no thread for it. A later attempt may succeed.
    #[error("no thread is available to compile it")]
    NoThread,
    /// The shape is invalid, or cannot be enforced token by token.
    #[error("{0}")]
    Refused(String),
}

/// What a parser or the grammar compiler says, in one line and in short.
fn in_a_line(reason: &str) -> String {
    let mut line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    line.truncate(line.floor_char_boundary(MAX_REASON));
    line
}

/// Under which a grammar is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct GrammarKey {
    /// The digest of its shape.
    name: [u8; 32],
    /// The digest of the callers who can find it. Others could otherwise learn from the time of their first request
    /// that it was used.
    scope: [u8; 32],
}

impl GrammarKey {
    pub(crate) fn of(shape: &Shape, scope: [u8; 32]) -> Self {
        Self { name: name(shape), scope }
    }
}

/// The compiled rules of the latest shapes, for one critic.
pub(crate) struct Grammars {
    /// Built for the first shape, since most servers see none and it holds every token of the critic.
    vocabulary: OnceLock<Result<Arc<Vocabulary>, GrammarError>>,
    /// Held only to look up or insert an entry, never while a grammar is compiled: two concurrent requests for the
    /// same shape compile it twice.
    kept: Mutex<ByteCache<GrammarKey, Result<Guided, GrammarError>>>,
}

impl Default for Grammars {
    fn default() -> Self {
        let kept = ByteCache::with_most_entries(MOST_KEPT, MOST_KEPT_BYTES);
        Self { vocabulary: OnceLock::new(), kept: Mutex::new(kept) }
    }
}

impl Grammars {
    /// The rules of this key, or why there are none, if they were compiled before.
    pub(crate) fn kept(&self, key: &GrammarKey) -> Option<Result<Guided, GrammarError>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(key)
    }

    /// Compiles the rules for `shape`, which takes up to some hundred milliseconds, and keeps them under its key. Their
    /// look-ahead runs on blocking threads of `runtime`.
    pub(crate) fn compile(
        &self,
        (shape, key): (&Shape, GrammarKey),
        processor: &dyn Processor,
        runtime: Handle,
    ) -> Result<Guided, GrammarError> {
        let vocabulary = self.vocabulary.get_or_init(|| Vocabulary::of(processor).map(Arc::new)).clone()?;
        let compiled = compile_on_deep_stack(shape, vocabulary, runtime);
        let guided = compiled.map(|compiled| Guided::new(key.name, Arc::new(compiled)));
        // A later attempt may find a thread.
        if !matches!(guided, Err(GrammarError::NoThread)) {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.put(key, guided.clone(), shape_bytes(shape));
        }
        guided
    }
}

/// Compiles the rules for `shape` on a thread with a stack that is deep enough for the compiler's recursion.
///
/// # Errors
/// [`GrammarError::NoThread`] when the system starts no such thread, and the reasons why the shape has no rules.
fn compile_on_deep_stack(
    shape: &Shape,
    vocabulary: Arc<Vocabulary>,
    runtime: Handle,
) -> Result<Compiled, GrammarError> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("grammar".into()).stack_size(STACK_BYTES);
        let compiling = builder.spawn_scoped(scope, move || compile(shape, vocabulary, runtime));
        let compiled = compiling.map_err(|_| GrammarError::NoThread)?.join();
        compiled.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Compiles the rules for `shape` over a vocabulary.
fn compile(shape: &Shape, vocabulary: Arc<Vocabulary>, runtime: Handle) -> Result<Compiled, GrammarError> {
    let Grammar { rules, start, needed } = grammar(shape)?;
    // One token may open structures that take about as many tokens to close as the schema has characters.
    let slack = 64
        + match shape {
            Shape::OneOf(texts) => texts.iter().map(String::len).max().unwrap_or(0),
            Shape::Object | Shape::Schema(_) | Shape::Pattern(_) => shape_bytes(shape),
        };
    let matcher = Matcher::new(vocabulary.factory.create_parser(rules));
    if let Some(error) = matcher.get_error() {
        return Err(refusal(shape, failure(&error)));
    }
    let compiled = Compiled::new(Ways { vocabulary, needed }, (matcher, start), slack, runtime);
    compiled.map_err(|failure| refusal(shape, failure))
}

/// How the compiler begins to say that a grammar is beyond its limits.
const COMPLEX: [&str; 10] = [
    "lexer error",
    "parser error",
    "lexer precomputation failed",
    "initial lexer configuration",
    "grammar size",
    "schema too large",
    "fuel exhausted",
    "Unable to determine",
    "can't determine",
    // An assertion about the size of a grammar.
    "panic",
];
/// How it begins to say that no text has a shape.
const IMPOSSIBLE: [&str; 3] = ["NoExtension", "Unsatisfiable schema", "Regex is empty"];
/// How it begins to say that a pattern is invalid, which the pattern's own parser says in a line.
const INVALID_PATTERN: [&str; 2] = ["regex parse error", "at 1("];

/// What went wrong in the automaton, which tells it by its texts only. They may quote the client further on.
fn failure(error: &str) -> GuideError {
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| error.starts_with(beginning));
    if begins(&COMPLEX) {
        GuideError::TooComplex
    } else if begins(&IMPOSSIBLE) {
        GuideError::DeadEnd
    } else if begins(&["oneOf constraints"]) {
        GuideError::Lost(
            "oneOf is only supported where its parts have nothing in common; anyOf may be used".into(),
        )
    } else {
        GuideError::Lost(in_a_line(error))
    }
}

/// Why a shape has no rules, after `failure` of its automaton.
fn refusal(shape: &Shape, failure: GuideError) -> GrammarError {
    let reason = match failure {
        GuideError::TooComplex => return GrammarError::TooComplex,
        GuideError::DeadEnd => return GrammarError::Unsatisfiable,
        GuideError::Lost(reason) => reason,
    };
    let is_pattern = INVALID_PATTERN.iter().any(|beginning| reason.starts_with(beginning));
    let mistake = match shape {
        Shape::Pattern(pattern) => pattern::mistake(unanchored(pattern)),
        Shape::Schema(schema) if is_pattern => Costly::of(schema).mistake(),
        Shape::Schema(_) | Shape::Object | Shape::OneOf(_) => None,
    };
    let around = || {
        let message = "word boundaries, and anchors other than at both ends, are not supported in patterns";
        reason.contains("lookarounds not supported").then(|| message.to_owned())
    };
    GrammarError::Refused(mistake.or_else(around).unwrap_or(reason))
}

/// The digest of a shape: SHA-256 over its kind and its texts, each with its length.
fn name(shape: &Shape) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    match shape {
        Shape::Object => add("object"),
        Shape::Schema(schema) => {
            add("schema");
            add(&schema.to_string());
        }
        Shape::Pattern(pattern) => {
            add("pattern");
            add(pattern);
        }
        Shape::OneOf(texts) => {
            add("one of");
            texts.iter().for_each(|text| add(text));
        }
    }
    digest.finalize().into()
}

/// The length of a shape in bytes; a schema has that of its JSON.
fn shape_bytes(shape: &Shape) -> usize {
    match shape {
        Shape::Object => 0,
        Shape::Schema(schema) => schema.to_string().len(),
        Shape::Pattern(pattern) => pattern.len(),
        Shape::OneOf(texts) => texts.iter().map(String::len).sum(),
    }
}

/// The pattern without the anchors at its ends, since the whole text must match anyway.
fn unanchored(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    match pattern.strip_suffix('$') {
        // A dollar sign after an even number of backslashes is not escaped.
        Some(inner) if (inner.len() - inner.trim_end_matches('\\').len()).is_multiple_of(2) => inner,
        _ => pattern,
    }
}

/// A shape as the compiler is given it.
struct Grammar {
    rules: TopLevelGrammar,
    /// The start position in the document, for JSON shapes.
    start: Option<Position>,
    /// The keys that some object requires, as written after their opening quote.
    needed: Vec<Vec<u8>>,
}

impl Grammar {
    /// The grammar of documents that are valid under `schema`, which is narrowed.
    fn of_schema(schema: Value) -> Self {
        let (start, needed) = (Some(Position::start()), schema::needed(&schema));
        Self { rules: TopLevelGrammar::from_json_schema(schema), start, needed }
    }

    /// The grammar of other texts.
    fn of_text(rules: TopLevelGrammar) -> Self {
        Self { rules, start: None, needed: Vec::new() }
    }
}

/// The shape as the compiler is given it.
fn grammar(shape: &Shape) -> Result<Grammar, GrammarError> {
    Ok(match shape {
        Shape::Object => Grammar::of_schema(schema::narrowed(schema::any_object())?),
        Shape::Schema(given) => Grammar::of_schema(schema::narrowed(given.clone())?),
        Shape::Pattern(pattern) => {
            Breadth::of(unanchored(pattern))?;
            Grammar::of_text(TopLevelGrammar::from_regex(unanchored(pattern)))
        }
        Shape::OneOf(texts) => {
            let bytes: usize = texts.iter().map(String::len).sum();
            if texts.is_empty() || texts.iter().any(String::is_empty) {
                return Err(GrammarError::Refused(
                    "there must be texts to choose from, and none empty".into(),
                ));
            }
            if texts.len() > MAX_TEXTS {
                return Err(GrammarError::TooMany { what: "texts", count: texts.len(), most: MAX_TEXTS });
            }
            let longest = texts.iter().map(String::len).max().unwrap_or(0);
            if longest > MAX_TEXT {
                return Err(GrammarError::TooLarge { what: "longest text", bytes: longest, most: MAX_TEXT });
            }
            if bytes > MAX_TEXT_BYTES {
                return Err(GrammarError::TooLarge { what: "list of texts", bytes, most: MAX_TEXT_BYTES });
            }
            let quoted: Vec<String> =
                texts.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
            Grammar::of_text(TopLevelGrammar::from_lark(format!("start: {}", quoted.join(" | "))))
        }
    })
}
