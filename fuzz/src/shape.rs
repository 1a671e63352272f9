//! Shapes of replies: schemas, patterns and lists of texts. Each is refused, or texts that follow it can be written, in
//! bounded time and memory, which the fuzzer's own limits check.

use std::sync::OnceLock;

use engine::{GuideError, Guided, TokenOutcome};
use judge::{Caller, GrammarError, Judge, JudgeError, Shape, TokenId};
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use super::{bytes::Bytes, recital};

/// Maximum number of tokens written.
const TOKENS: usize = 40;
/// Maximum depth of a schema that is made up.
const DEPTH: usize = 5;
/// Number of parts to which references may lead.
const PARTS: usize = 4;

const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];
const FORMATS: [&str; 4] = ["date-time", "email", "uri", "uuid"];
const NAMES: [&str; 4] = ["a", "b", "score", "reason"];

struct Parts {
    judge: Judge,
    runtime: Runtime,
}

fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| Parts {
        judge: recital::judge(),
        runtime: Runtime::new().expect("a runtime can be made"),
    })
}

/// Panics when a shape is refused without a reason in one line, when an accepted one has no text, or when a text that
/// is complete does not have the shape.
pub fn run(data: &[u8]) {
    let shape = shape(Bytes(data));
    let Parts { judge, runtime } = parts();
    let rules = runtime.block_on(judge.rules_for(shape.clone(), &Caller::default()));
    match rules {
        Ok(rules) => write(&shape, &rules, data),
        Err(JudgeError::Grammar(error)) => {
            let told = error.to_string();
            assert!(!told.is_empty() && !told.contains('\n'), "{told:?}");
            assert!(!matches!(error, GrammarError::NoThread));
        }
        Err(error) => panic!("{shape:?}: {error}"),
    }
}

/// Writes a text by the rules, whose choices are the bytes from the last one on.
fn write(shape: &Shape, rules: &Guided, data: &[u8]) {
    let mut guide = rules.begin();
    let (mut text, mut left) = (Vec::new(), TOKENS);
    let mut choices = data.iter().rev().cycle();
    let outcome = loop {
        let allowed = match guide.allowed(left) {
            Ok(allowed) => allowed,
            Err(error) => return check(&error),
        };
        let next: Vec<u32> = (0..256).filter(|token| allowed.contains(TokenId(*token))).collect();
        if next.is_empty() {
            assert!(allowed.end, "{shape:?}: nothing may follow {text:?}");
            break TokenOutcome::Whole;
        }
        let token = next[usize::from(choices.next().copied().unwrap_or_default()) % next.len()];
        match guide.take(TokenId(token), left - 1) {
            Ok(TokenOutcome::Refused) => continue,
            Ok(outcome) => {
                text.push(token as u8);
                left -= 1;
                if left == 0 || outcome == TokenOutcome::Complete {
                    break outcome;
                }
            }
            Err(error) => return check(&error),
        }
    };
    if outcome == TokenOutcome::Open {
        return;
    }
    match shape {
        Shape::Object | Shape::Schema(_) => {
            // Numbers may be larger than any that Rust has.
            assert!(serde_json::from_slice::<IgnoredAny>(&text).is_ok(), "{shape:?}: {text:?}");
        }
        Shape::OneOf(texts) => assert!(texts.iter().any(|one| one.as_bytes() == text), "{shape:?}: {text:?}"),
        Shape::Pattern(_) => {}
    }
}

/// Only rules that the client itself made impossible cannot be followed.
fn check(error: &GuideError) {
    assert!(matches!(error, GuideError::TooComplex | GuideError::DeadEnd), "{error}");
}

fn shape(mut bytes: Bytes<'_>) -> Shape {
    match bytes.below(5) {
        0 => Shape::Pattern(bytes.text()),
        1 => {
            let count = bytes.below(8);
            Shape::OneOf((0..count).map(|_| bytes.piece()).collect())
        }
        2 => {
            let text = bytes.text();
            Shape::Schema(serde_json::from_str(&text).unwrap_or(Value::String(text)))
        }
        _ => {
            let mut parts: Map<String, Value> =
                (0..PARTS).map(|number| (number.to_string(), schema(&mut bytes, 0))).collect();
            let mut root = parts.remove("0").unwrap_or_default();
            if let Some(keywords) = root.as_object_mut() {
                keywords.insert("$defs".into(), parts.into());
            }
            Shape::Schema(root)
        }
    }
}

/// A schema of up to four keywords.
fn schema(bytes: &mut Bytes<'_>, depth: usize) -> Value {
    let mut keywords = Map::new();
    for _ in 0..bytes.below(5) {
        let (key, value) = keyword(bytes, depth);
        keywords.insert(key.into(), value);
    }
    keywords.into()
}

fn keyword(bytes: &mut Bytes<'_>, depth: usize) -> (&'static str, Value) {
    // The last ones have parts.
    let kinds = if depth < DEPTH { 26 } else { 16 };
    match bytes.below(kinds) {
        0 | 1 => ("type", TYPES[bytes.below(TYPES.len())].into()),
        2 => ("type", json!([TYPES[bytes.below(TYPES.len())], TYPES[bytes.below(TYPES.len())]])),
        3 => ("enum", json!([literal(bytes), literal(bytes)])),
        4 => ("const", literal(bytes)),
        5 => ("pattern", bytes.piece().into()),
        6 => ("format", FORMATS[bytes.below(FORMATS.len())].into()),
        7 => ("minLength", number(bytes)),
        8 => ("maxLength", number(bytes)),
        9 => ("minimum", number(bytes)),
        10 => ("maximum", number(bytes)),
        11 => ("multipleOf", number(bytes)),
        12 => ("minItems", number(bytes)),
        13 => ("maxItems", number(bytes)),
        14 => ("$ref", format!("#/$defs/{}", bytes.below(PARTS + 1)).into()),
        15 => ("required", json!([NAMES[bytes.below(NAMES.len())]])),
        16 | 17 => ("properties", named(bytes, depth, |bytes| NAMES[bytes.below(NAMES.len())].into())),
        18 => ("patternProperties", named(bytes, depth, |bytes| bytes.piece())),
        19 => ("additionalProperties", schema(bytes, depth + 1)),
        20 => ("items", schema(bytes, depth + 1)),
        21 => ("prefixItems", list(bytes, depth)),
        22 => ("anyOf", list(bytes, depth)),
        23 => ("oneOf", list(bytes, depth)),
        24 => ("allOf", list(bytes, depth)),
        _ => ("examples", list(bytes, depth)),
    }
}

fn list(bytes: &mut Bytes<'_>, depth: usize) -> Value {
    let count = bytes.below(4);
    (0..count).map(|_| schema(bytes, depth + 1)).collect()
}

fn named(bytes: &mut Bytes<'_>, depth: usize, name: impl Fn(&mut Bytes<'_>) -> String) -> Value {
    let count = bytes.below(4);
    let named: Map<String, Value> = (0..count).map(|_| (name(bytes), schema(bytes, depth + 1))).collect();
    named.into()
}

fn literal(bytes: &mut Bytes<'_>) -> Value {
    match bytes.below(3) {
        0 => number(bytes),
        1 => bytes.piece().into(),
        _ => Value::Null,
    }
}

/// Numbers of every size, most of them small.
fn number(bytes: &mut Bytes<'_>) -> Value {
    let digits = i64::from(bytes.byte());
    match bytes.below(8) {
        0..5 => digits.into(),
        5 => (-digits).into(),
        6 => (digits as f64 / 100.0).into(),
        _ => digits.saturating_mul(10_i64.pow(bytes.below(17) as u32)).into(),
    }
}
