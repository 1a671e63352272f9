//! Tests of texts that follow grammars, with a vocabulary of bytes and a few words.

use critic::{EncodeError, Encoded, Prompt, TokenId};
use engine::{Allowed, GuideError, Rule, TokenOutcome};
use serde_json::json;

use super::{
    ending::{ALL_TRIES, FEW_TRIES, TRIED},
    *,
};

/// Tokens that end inside JSON elements, in addition to the bytes.
const WORDS: [&str; 9] = ["{\"", "\":", "\", \"", "\"}", "re", "reason", "the", " no\"", "]}"];

struct Words;

impl Processor for Words {
    fn encode(&self, _: &Prompt) -> Result<Encoded, EncodeError> {
        unreachable!("no prompt is read")
    }

    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        match u8::try_from(token.0) {
            Ok(byte) => vec![byte],
            Err(_) => WORDS[token.0 as usize - 256].into(),
        }
    }

    fn vocabulary(&self) -> usize {
        256 + WORDS.len()
    }

    fn is_control(&self, _: TokenId) -> bool {
        false
    }

    fn tokenize(&self, text: &str) -> Result<Vec<TokenId>, EncodeError> {
        Ok(text.bytes().map(|byte| TokenId(byte.into())).collect())
    }
}

fn compiled(shape: &Shape) -> Compiled {
    let vocabulary = Arc::new(Vocabulary::of(&Words).unwrap());
    compile(shape, vocabulary, Handle::current()).unwrap()
}

#[tokio::test]
async fn endings_are_short() {
    let string = || json!({ "type": "string" });
    for (shape, expected) in [
        (Shape::Object, r#"{"":0}"#),
        // What a schema does not make optional is written, or any one of what has a default.
        (
            Shape::Schema(
                json!({ "type": "object", "properties": { "ab": string(), "c": { "type": "null" } } }),
            ),
            r#"{"ab":"","c":null}"#,
        ),
        (
            Shape::Schema(json!({
                "type": "object",
                "properties": { "a": { "enum": ["x", 1], "default": 1 }, "b": { "const": 12, "default": 12 } },
            })),
            r#"{"a":1}"#,
        ),
        (Shape::Pattern("a{3}b*|c{5}".into()), "aaa"),
        (Shape::Pattern("A.*Z".into()), "AZ"),
        (Shape::Pattern("[ab]*c[ab]*".into()), "c"),
        (Shape::Schema(json!({ "type": "number", "minimum": 0.001 })), "1"),
        (Shape::Schema(json!({ "type": "string", "format": "email" })), r#""0@0""#),
        (Shape::Schema(json!({ "type": "string", "format": "date" })), r#""0000-01-01""#),
        (Shape::Schema(json!({ "type": "string", "format": "time" })), r#""00:00:00z""#),
        (
            Shape::Schema(json!({ "type": "string", "format": "uuid" })),
            r#""00000000-0000-0000-0000-000000000000""#,
        ),
        (Shape::OneOf(vec!["a long one".into(), "short".into()]), "short"),
        (Shape::Schema(json!({ "type": "integer", "minimum": 7, "maximum": 30 })), "7"),
        (
            Shape::Schema(
                json!({ "anyOf": [{ "type": "object", "properties": { "a": string() }, "required": ["a"] }, { "type": "null" }] }),
            ),
            "null",
        ),
        (
            Shape::Schema(
                json!({ "type": "array", "items": { "enum": ["the \"third\" one", "A"] }, "minItems": 2 }),
            ),
            r#"["A","A"]"#,
        ),
        // A reference to a part anywhere in the schema.
        (
            Shape::Schema(json!({ "anyOf": [{
                "type": "object",
                "properties": { "abc": { "type": "string", "minLength": 9, "$defs": { "c": { "const": 2 } } } },
                "required": ["abc"],
            }, {
                "type": "object",
                "properties": { "d": { "$ref": "#/anyOf/0/properties/abc/$defs/c" } },
                "required": ["d"],
            }] })),
            r#"{"d":2}"#,
        ),
        (
            Shape::Schema(json!({
                "type": "object",
                "properties": {
                    "score": { "type": "string", "minLength": 3, "maxLength": 5 },
                    "reason": { "type": "string", "maxLength": 4 },
                    "verdict": { "enum": ["A", "B", "the \"third\" one"] },
                },
                "required": ["verdict"],
            })),
            r#"{"verdict":"A"}"#,
        ),
    ] {
        let ending = compiled(&shape).start_ending();
        assert_eq!(ending.as_deref(), Some(expected), "{shape:?}");
    }
}

/// Generates a text of at most `left` tokens, drawn from the allowed ones; returns whether it is complete.
fn write(
    rules: &Compiled,
    mut left: usize,
    random: &mut impl FnMut(usize) -> usize,
) -> Result<(String, bool), GuideError> {
    let mut guide = rules.begin();
    let mut bytes = Vec::new();
    loop {
        let allowed: Allowed = guide.allowed(left)?.clone();
        let choices: Vec<u32> =
            (0..Words.vocabulary() as u32).filter(|id| allowed.contains(TokenId(*id))).collect();
        if choices.is_empty() || (allowed.end && random(4) == 0) {
            assert!(allowed.end, "a text that cannot go on can end");
            return Ok((String::from_utf8(bytes).unwrap(), true));
        }
        let token = TokenId(choices[random(choices.len())]);
        let tried = TRIED.get();
        let taken = guide.take(token, left - 1)?;
        assert!(TRIED.get() - tried <= FEW_TRIES, "everybody waits while a token is taken");
        if taken != TokenOutcome::Refused {
            left -= 1;
            bytes.extend(Words.token_bytes(token));
        }
        match taken {
            TokenOutcome::Complete => return Ok((String::from_utf8(bytes).unwrap(), true)),
            TokenOutcome::Open | TokenOutcome::Whole if left == 0 => {
                return Ok((String::from_utf8_lossy(&bytes).into_owned(), taken == TokenOutcome::Whole));
            }
            TokenOutcome::Refused | TokenOutcome::Open | TokenOutcome::Whole => {}
        }
    }
}

/// A seeded generator of pseudo-random numbers.
fn chance(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

// The texts are generated on one thread, like the engine's, and the look-ahead runs on others.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn any_text_is_whole_within_any_bound_that_holds_the_shortest() {
    let node = json!({
        "type": "object",
        "properties": { "reason": { "type": "string" }, "next": { "anyOf": [{ "$ref": "#/$defs/node" }, { "type": "null" }] } },
        "required": ["reason", "next"],
    });
    let shapes = [
        Shape::Object,
        Shape::Pattern("(ab){2,9}|[0-9]+\\.[0-9]{3}".into()),
        Shape::OneOf(vec!["a".into(), "ab".into(), "abc no".into()]),
        Shape::Schema(json!({ "$ref": "#/$defs/node", "$defs": { "node": node } })),
        Shape::Schema(
            json!({ "type": "array", "items": { "type": ["number", "boolean", "string"] }, "minItems": 3 }),
        ),
        Shape::Schema(json!({ "type": "string", "minLength": 6, "maxLength": 9 })),
    ];
    for shape in shapes {
        let rules = compiled(&shape);
        let (shape, rules) = tokio::task::spawn_blocking(move || {
            let shortest = rules.start_ending().unwrap().len();
            for seed in 0..60 {
                let mut random = chance(seed);
                let bound = shortest + random(60);
                let (text, whole) = write(&rules, bound, &mut random).unwrap();
                assert!(whole && !text.is_empty(), "{text:?} with {bound} tokens for {shape:?}");
                let is_json = matches!(shape, Shape::Object | Shape::Schema(_));
                assert!(!is_json || serde_json::from_str::<Value>(&text).is_ok(), "{text:?} is no JSON");
            }
            (shape, rules)
        })
        .await
        .unwrap();
        let shortest = rules.start_ending().unwrap().len();
        if shortest > 2 && matches!(shape, Shape::Schema(_)) {
            let cut =
                tokio::task::spawn_blocking(move || write(&rules, 2, &mut chance(1))).await.unwrap().unwrap();
            assert!(!cut.1, "two tokens hold no such text: {cut:?}");
        }
    }
}

#[tokio::test]
async fn a_number_is_not_continued_beyond_its_precision() {
    // The digit that the text repeats is always allowed by the schema itself.
    for (schema, expected) in [
        (json!({ "type": "number" }), "[1111111111111111.1111111111111111]"),
        (json!({ "type": "number", "minimum": 0, "maximum": 0.5 }), "[0.1111111111111111]"),
        (json!({ "type": "integer" }), "[1111111111111111]"),
        (json!({ "type": "number", "minimum": 1e-18, "maximum": 2e-18 }), "[0.000000000000000001]"),
    ] {
        let rules = compiled(&Shape::Schema(
            json!({ "type": "array", "items": schema, "minItems": 1, "maxItems": 1 }),
        ));
        let written = tokio::task::spawn_blocking(move || {
            let mut guide = rules.begin();
            let mut text = String::new();
            loop {
                let allowed = guide.allowed(100 - text.len()).unwrap();
                let token =
                    b"[10.]".iter().find(|byte| allowed.contains(TokenId(u32::from(**byte)))).unwrap();
                text.push(char::from(*token));
                if guide.take(TokenId(u32::from(*token)), 100 - text.len()).unwrap() == TokenOutcome::Complete
                {
                    return text;
                }
            }
        });
        assert_eq!(written.await.unwrap(), expected);
    }
}

/// A text that follows the rules by always choosing the first allowed token, up to so many tokens.
fn first_allowed(rules: &Compiled, tokens: usize) -> Result<TokenOutcome, GuideError> {
    let mut guide = rules.begin();
    let mut taken = TokenOutcome::Open;
    for left in (0..tokens).rev() {
        let allowed = guide.allowed(left + 1)?;
        let token = (0..Words.vocabulary() as u32).map(TokenId).find(|token| allowed.contains(*token));
        taken = guide.take(token.expect("something may follow"), left)?;
    }
    Ok(taken)
}

#[tokio::test]
async fn references_that_lead_far_are_followed_on_a_deep_stack_or_refused() {
    let chain = |count: usize, part: &dyn Fn(Value) -> Value| {
        let target = |number: usize| json!({ "$ref": format!("#/$defs/{number}") });
        let mut parts: serde_json::Map<String, Value> =
            (0..count).map(|number| (number.to_string(), part(target(number + 1)))).collect();
        parts.insert(count.to_string(), json!({ "type": "string" }));
        Shape::Schema(json!({ "$ref": "#/$defs/0", "$defs": parts }))
    };
    let parts: [&dyn Fn(Value) -> Value; 4] = [
        &|next| json!({ "anyOf": [next, { "type": "null" }] }),
        &|next| json!({ "type": "array", "items": next }),
        &|next| json!({ "type": "object", "properties": { "a": next }, "required": ["a"] }),
        &|next| (0..15).fold(next, |inner, _| json!({ "type": "array", "items": inner })),
    ];
    let vocabulary = Arc::new(Vocabulary::of(&Words).unwrap());
    for part in parts {
        let levels = schema::depth(&part(json!({ "$ref": "" })));
        let compile = |count: usize| {
            compile_on_deep_stack(&chain(count, part), vocabulary.clone(), Handle::current()).err()
        };
        assert_eq!(compile(900 / levels), None, "{levels} levels each");
        assert_eq!(compile(1001 / levels), Some(GrammarError::TooDeep { most: 1000 }));
    }
}

#[tokio::test]
async fn rules_that_grow_while_they_are_followed_are_told_apart() {
    let rules = compiled(&Shape::Pattern("[ab]*a[ab]{900}".into()));
    let followed = tokio::task::spawn_blocking(move || first_allowed(&rules, 3000)).await.unwrap();
    assert_eq!(followed, Err(GuideError::TooComplex));
}

#[tokio::test]
async fn refusals_say_in_a_line_what_is_wrong() {
    let vocabulary = Arc::new(Vocabulary::of(&Words).unwrap());
    let told = |shape: Shape| compile(&shape, vocabulary.clone(), Handle::current()).err().unwrap();
    for (shape, expected) in [
        (Shape::Pattern(r"[^\s\S]".into()), GrammarError::Unsatisfiable),
        (Shape::Schema(json!({ "$ref": "#" })), GrammarError::Unsatisfiable),
        (
            Shape::Schema(json!({ "allOf": [{ "type": "string", "enum": ["a"] }, { "enum": ["b"] }] })),
            GrammarError::Unsatisfiable,
        ),
        (Shape::Pattern("(a?){500}a{500}".into()), GrammarError::TooComplex),
    ] {
        assert_eq!(told(shape.clone()), expected, "{shape:?}");
    }
    for (shape, expected) in [
        (Shape::Pattern("^(a)\\1$".into()), "backreferences are not supported (at character 4)"),
        (
            Shape::Schema(json!({ "type": "string", "pattern": "^(?!a)b$" })),
            "look-around, including look-ahead and look-behind, is not supported (at character 2)",
        ),
        (Shape::Schema(json!({ "type": "colour", "pattern": "^a$|^b$" })), "colour"),
        (Shape::Schema(json!({ "type": "panic" })), "panic"),
        (Shape::Schema(json!({ "oneOf": [{ "type": "fuel" }] })), "fuel"),
        (Shape::Pattern(r"a\b".into()), "word boundaries"),
        (Shape::Schema(json!({ "type": "string", "pattern": r"a\b" })), "word boundaries"),
    ] {
        let text = told(shape.clone()).to_string();
        assert!(text.contains(expected) && !text.contains('\n'), "{shape:?}: {text}");
    }
}

#[test]
fn only_an_anchor_is_taken_from_the_end_of_a_pattern() {
    for (pattern, inner) in [
        ("^a$", "a"),
        ("a", "a"),
        ("a$", "a"),
        (r"a\$", r"a\$"),
        (r"a\\$", r"a\\"),
        (r"a\\\$", r"a\\\$"),
        ("^$", ""),
    ] {
        assert_eq!(unanchored(pattern), inner, "{pattern}");
    }
}

#[test]
fn texts_to_choose_from_are_bounded_in_number_and_in_bytes() {
    let refused = |texts: Vec<String>| grammar(&Shape::OneOf(texts)).err();
    let texts = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
    assert_eq!(refused(texts(MAX_TEXTS)), None);
    assert_eq!(
        refused(texts(MAX_TEXTS + 1)),
        Some(GrammarError::TooMany { what: "texts", count: 1001, most: 1000 })
    );
    let bytes = MAX_TEXT_BYTES + 1;
    let long: Vec<String> =
        (0..8).map(|text| text.to_string().repeat(MAX_TEXT)).chain(["b".into()]).collect();
    assert_eq!(
        refused(long),
        Some(GrammarError::TooLarge { what: "list of texts", bytes, most: MAX_TEXT_BYTES })
    );
    assert_eq!(
        refused(vec!["a".repeat(MAX_TEXT + 1), "b".into()]),
        Some(GrammarError::TooLarge { what: "longest text", bytes: 8193, most: MAX_TEXT })
    );
}

#[tokio::test]
async fn what_was_compiled_is_kept_by_its_shape() {
    let grammars = Grammars::default();
    let shape = |word: &str| Shape::Schema(json!({ "const": word }));
    let (here, there) = ([1; 32], [2; 32]);
    let compile =
        |shape: &Shape| grammars.compile((shape, GrammarKey::of(shape, here)), &Words, Handle::current());
    assert!(grammars.kept(&GrammarKey::of(&shape("a"), here)).is_none());
    let compiled = compile(&shape("a"));
    assert_eq!(grammars.kept(&GrammarKey::of(&shape("a"), here)), Some(Ok(compiled.unwrap())));
    assert!(grammars.kept(&GrammarKey::of(&shape("a"), there)).is_none(), "others learn nothing of it");
    assert!(grammars.kept(&GrammarKey::of(&shape("b"), here)).is_none());
    let wrong = Shape::Pattern("(".into());
    let refused = compile(&wrong);
    assert!(refused.is_err());
    assert_eq!(grammars.kept(&GrammarKey::of(&wrong, here)), Some(refused), "refusals are kept too");
    for number in 0..MOST_KEPT.get() {
        compile(&shape(&number.to_string())).unwrap();
    }
    assert!(grammars.kept(&GrammarKey::of(&shape("a"), here)).is_none(), "the oldest made room");
}

/// The outcome for a text of a given shape.
#[derive(Debug, PartialEq)]
enum Fate {
    /// The shape is rejected.
    Refused,
    /// The text is complete.
    Whole,
    /// The token limit is too small.
    Cut,
}

#[tokio::test]
async fn hard_shapes_are_refused_or_followed_with_few_tries() {
    let conjunction = |count: usize| -> Vec<Value> {
        let patterns = (0..count).map(|rest| format!("[ab]*a[ab]{{{rest}}}c"));
        patterns.map(|pattern| json!({ "type": "string", "pattern": pattern })).collect()
    };
    let named = |count: usize| -> Value {
        (0..count)
            .map(|number| (format!("^{number}x"), json!({ "type": "null" })))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let several = |count: u64| json!({ "type": "array", "items": { "type": "null" }, "minItems": count });
    for (shape, expected) in [
        (Shape::Schema(several(1_000_000)), Fate::Cut),
        (Shape::Schema(json!({ "type": "string", "minLength": 1_000_000 })), Fate::Cut),
        (Shape::Schema(json!({ "allOf": [{ "type": "string" }, { "type": "number" }] })), Fate::Refused),
        (Shape::Pattern("((a{1,500}b){1,500}c){1,500}".into()), Fate::Whole),
        (Shape::Pattern("(.*a.{30}){8}".into()), Fate::Cut),
        (Shape::Pattern("(x{1000}){1000}".into()), Fate::Refused),
        (Shape::Schema(json!({ "type": "string", "pattern": "^(a{900}){900}$" })), Fate::Refused),
        // Patterns that must all match, of which each can go on in two ways.
        (Shape::Schema(json!({ "allOf": conjunction(20) })), Fate::Refused),
        (
            Shape::Schema(json!({ "$ref": "#/$defs/all", "$defs": { "all": { "allOf": conjunction(20) } } })),
            Fate::Refused,
        ),
        (Shape::Schema(json!({ "type": "object", "patternProperties": named(17) })), Fate::Refused),
        (Shape::Schema(json!({ "type": "integer", "multipleOf": 999_983 })), Fate::Refused),
    ] {
        let vocabulary = Arc::new(Vocabulary::of(&Words).unwrap());
        let tried = TRIED.get();
        let rules = compile(&shape, vocabulary, Handle::current());
        assert!(TRIED.get() - tried <= ALL_TRIES, "{shape:?}");
        let fate = match rules {
            Err(_) => Fate::Refused,
            Ok(rules) => {
                let written = tokio::task::spawn_blocking(move || write(&rules, 40, &mut chance(1))).await;
                if written.unwrap().unwrap().1 { Fate::Whole } else { Fate::Cut }
            }
        };
        assert_eq!(fate, expected, "{shape:?}");
    }
}
