//! What a schema would cost, known before it is compiled.
//!
//! The compiler's own limits are on its rules and on single steps of the automaton. How many strings and numbers it
//! looks through to see whether any exists, how long, and how deep it follows references is bounded here.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};

use super::{
    GrammarError, MAX_TEXT,
    pattern::{self, Breadth, MAX_FOLDED},
    schema::{BOUNDS, depth, intersects_here},
};

/// Maximum number of names of properties that are given by a pattern: the compiler compares each with each other, for
/// up to ten milliseconds.
const MAX_NAME_PATTERNS: usize = 16;
/// Maximum number of strings with a pattern or a format: the compiler looks for up to ten milliseconds whether there is
/// one.
const MAX_STRINGS: usize = 64;
/// Maximum number of properties, those that are required counted again: the compiler's work grows with its square.
const MAX_PROPERTIES: usize = 2000;
/// Maximum number of bounds of numbers: the automaton of each has some kibibytes, and each text gets its own copy.
const MAX_BOUNDS: usize = 1000;
/// The most remainders of numbers of which others are multiples: the automaton has a state for each, and for each
/// length of a number, which takes some microseconds and some hundred bytes.
const MAX_REMAINDERS: f64 = 5000.0;
/// The most levels of all referenced parts together: the compiler recurses into each, with some ten kibibytes of stack
/// for a level.
const MAX_LEVELS: usize = 1000;

/// The parts of a schema that are costly to compile, wherever they stand: a reference may lead to a part of an example.
#[derive(Debug, Default)]
pub(super) struct Costly {
    /// Levels of the schema and of the parts to which its references lead.
    levels: usize,
    /// Whether several schemas apply to one value, so that all of them may apply together.
    intersects: bool,
    /// Patterns of strings.
    patterns: Vec<String>,
    /// Number of strings with a format.
    formats: usize,
    /// Patterns of the names of properties.
    names: Vec<String>,
    /// Number of properties, those that are required counted again.
    properties: usize,
    /// Number of bounds of numbers.
    bounds: usize,
    /// The length in bytes of the longest value that is given, or of the longest name.
    longest: usize,
    /// The numbers of which others are multiples.
    multiples: Vec<Multiple>,
}

impl Costly {
    /// The costly parts of a schema.
    pub(super) fn of(schema: &Value) -> Self {
        let (mut found, mut references) = (Self::default(), BTreeSet::new());
        found.collect(schema, &mut references);
        let all = depth(schema);
        let leads_to = |reference: &&str| {
            // What is not found, or written in a way that the compiler reads otherwise, may be any part.
            let plain = reference.split_once('#').map(|(_, pointer)| pointer);
            let plain = plain.filter(|pointer| !pointer.contains(['~', '%']));
            plain.and_then(|pointer| schema.pointer(pointer)).map_or(all, depth)
        };
        found.levels = all + references.iter().map(leads_to).sum::<usize>();
        found
    }

    fn collect<'a>(&mut self, value: &'a Value, references: &mut BTreeSet<&'a str>) {
        match value {
            Value::Array(parts) => parts.iter().for_each(|part| self.collect(part, references)),
            Value::Object(parts) => {
                self.add(parts);
                references.extend(parts.get("$ref").and_then(Value::as_str));
                parts.values().for_each(|part| self.collect(part, references));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Adds what is costly in a schema by itself.
    fn add(&mut self, keywords: &Map<String, Value>) {
        self.intersects |= intersects_here(keywords);
        self.patterns.extend(keywords.get("pattern").and_then(Value::as_str).map(str::to_owned));
        self.formats += usize::from(keywords.get("format").is_some_and(Value::is_string));
        let count = |key: &str| match keywords.get(key) {
            Some(Value::Object(named)) => named.len(),
            Some(Value::Array(names)) => names.len(),
            _ => 0,
        };
        self.properties += count("properties") + count("required");
        self.bounds += BOUNDS.iter().filter(|key| keywords.contains_key(**key)).count();
        let names = keywords.get("properties").and_then(Value::as_object).into_iter().flatten();
        let names = names.map(|(name, _)| name.len());
        let lists =
            ["enum", "required"].into_iter().filter_map(|key| keywords.get(key)?.as_array()).flatten();
        let values = lists.chain(keywords.get("const")).map(|value| value.to_string().len());
        self.longest = names.chain(values).fold(self.longest, usize::max);
        let names = keywords.get("patternProperties").and_then(Value::as_object);
        self.names.extend(names.into_iter().flat_map(|names| names.keys().cloned()));
        self.multiples.extend(keywords.get("multipleOf").and_then(Value::as_number).map(Multiple::of));
    }

    /// Checks that the schema can be compiled within bounds.
    ///
    /// # Errors
    /// [`GrammarError::TooDeep`], [`GrammarError::TooMany`] and [`GrammarError::TooComplex`] when it cannot, and those
    /// of [`Breadth::of`].
    pub(super) fn check(&self) -> Result<(), GrammarError> {
        if self.levels > MAX_LEVELS {
            return Err(GrammarError::TooDeep { most: MAX_LEVELS });
        }
        for (what, count, most) in [
            ("patterns for names of properties", self.names.len(), MAX_NAME_PATTERNS),
            ("patterns and formats", self.patterns.len() + self.formats, MAX_STRINGS),
            ("properties and required names", self.properties, MAX_PROPERTIES),
            ("bounds of numbers", self.bounds, MAX_BOUNDS),
        ] {
            if count > most {
                return Err(GrammarError::TooMany { what, count, most });
            }
        }
        if self.longest > MAX_TEXT {
            return Err(GrammarError::TooLarge {
                what: "longest value",
                bytes: self.longest,
                most: MAX_TEXT,
            });
        }
        if self.remainders() > MAX_REMAINDERS {
            return Err(GrammarError::TooComplex);
        }
        let breadths = self.all_patterns().filter_map(|pattern| Breadth::of_sought(pattern).transpose());
        let breadths = breadths.collect::<Result<Vec<Breadth>, _>>()?;
        if breadths.iter().map(|breadth| breadth.folded).sum::<usize>() > MAX_FOLDED {
            return Err(GrammarError::TooComplex);
        }
        if self.intersects { Breadth::check_together(&breadths) } else { Ok(()) }
    }

    /// What is wrong with the first pattern that is invalid, in one line; `None` if none is.
    pub(super) fn mistake(&self) -> Option<String> {
        self.all_patterns().find_map(pattern::mistake)
    }

    /// The number of remainders of all multiples: of each alone, or, where they may have to be multiples of several,
    /// of all at once.
    fn remainders(&self) -> f64 {
        if !self.intersects {
            return self.multiples.iter().map(|one| one.digits).sum();
        }
        let decimals = self.multiples.iter().map(|one| one.decimals).max().unwrap_or(0);
        let scaled = self.multiples.iter().map(|one| one.digits * 10_f64.powi(decimals - one.decimals));
        scaled.fold(1.0, least_common_multiple)
    }

    fn all_patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().chain(&self.names).map(String::as_str)
    }
}

/// The least common multiple of two whole numbers; what is beyond the bound may be any number beyond it.
fn least_common_multiple(one: f64, other: f64) -> f64 {
    if one.max(other) > MAX_REMAINDERS {
        return f64::INFINITY;
    }
    let (mut divisor, mut rest) = (one, other);
    while rest > 0.0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    one / divisor * other
}

/// A number of which others are multiples: a whole number, and the place of its decimal point from the right.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Multiple {
    digits: f64,
    decimals: i32,
}

impl Multiple {
    fn of(number: &Number) -> Self {
        let text = number.to_string();
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa = mantissa.strip_suffix(".0").unwrap_or(mantissa);
        let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len()) as i32;
        let decimals = decimals - exponent.parse::<i32>().unwrap_or(0);
        let digits: f64 = mantissa.replace(['.', '-'], "").parse().unwrap_or(f64::INFINITY);
        // Nothing but 0 is a multiple of 0.
        Self { digits: digits.max(1.0) * 10_f64.powi(-decimals.min(0)), decimals: decimals.max(0) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn multiples_are_whole_numbers_with_a_point() {
        for (number, digits, decimals) in [
            (json!(7), 7.0, 0),
            (json!(0.25), 25.0, 2),
            (json!(0.01), 1.0, 2),
            (json!(1e-9), 1.0, 9),
            (json!(2.5e-9), 25.0, 10),
            (json!(5.0), 5.0, 0),
            (json!(1e20), 1e20, 0),
            (json!(0), 1.0, 0),
        ] {
            assert_eq!(Multiple::of(number.as_number().unwrap()), Multiple { digits, decimals }, "{number}");
        }
    }

    #[test]
    fn what_is_costly_is_bounded_over_the_whole_schema() {
        let list = |count: usize, item: Value| json!({ "prefixItems": vec![item; count] });
        // Where a reference may lead as well.
        let example = |count: usize, item: Value| json!({ "examples": vec![item; count] });
        let many = |what, count, most| Err(GrammarError::TooMany { what, count, most });
        let complex = || Err(GrammarError::TooComplex);
        let of = |number: f64| json!({ "multipleOf": number });
        let two = || json!({ "pattern": "[ab]*a[ab]*" });
        let names: Vec<String> = (0..1001).map(|name| name.to_string()).collect();
        let named: Map<String, Value> = names.iter().map(|name| (name.clone(), json!({}))).collect();
        for (schema, expected) in [
            (list(64, json!({ "format": "email" })), Ok(())),
            (list(65, json!({ "format": "email" })), many("patterns and formats", 65, 64)),
            (list(65, json!({ "properties": { "format": {} } })), Ok(())),
            (example(65, json!({ "pattern": "a" })), many("patterns and formats", 65, 64)),
            (
                list(17, json!({ "patternProperties": { "^a": {} } })),
                many("patterns for names of properties", 17, 16),
            ),
            (
                json!({ "properties": named, "required": names }),
                many("properties and required names", 2002, 2000),
            ),
            (list(501, json!({ "minimum": 1, "maximum": 5 })), many("bounds of numbers", 1002, 1000)),
            (json!({ "enum": ["a".repeat(8190)] }), Ok(())),
            (
                json!({ "enum": ["a".repeat(8191)] }),
                Err(GrammarError::TooLarge { what: "longest value", bytes: 8193, most: 8192 }),
            ),
            (list(2, of(2500.0)), Ok(())),
            (list(2, of(0.0101)), Ok(())),
            (list(3, of(2500.0)), complex()),
            (json!({ "allOf": [of(2500.0), of(500.0)] }), Ok(())),
            (json!({ "allOf": [of(2500.0), of(7.0)] }), complex()),
            (json!({ "allOf": [of(2500.0), of(0.5)] }), complex()),
            (json!({ "allOf": [of(997.0), of(991.0)], "examples": [of(0.0)] }), complex()),
            (json!({ "multipleOf": 997, "anyOf": [of(991.0)] }), complex()),
            (
                json!({ "properties": { "a": of(997.0) }, "patternProperties": { "^a": of(991.0) } }),
                complex(),
            ),
            (list(20, two()), Ok(())),
            (json!({ "allOf": vec![two(); 20] }), complex()),
            (list(3, json!({ "pattern": format!("(?i){}", "[abc]".repeat(3)) })), complex()),
        ] {
            assert_eq!(Costly::of(&schema).check(), expected, "{schema}");
        }
    }

    #[test]
    fn references_are_as_deep_as_all_that_they_lead_to() {
        let chain = |count: usize, last: &str| {
            let target = |number: usize| {
                if number < count { format!("#/$defs/{number}") } else { last.to_owned() }
            };
            let part = |number: usize| json!({ "items": { "$ref": target(number + 1) } });
            let parts: Map<String, Value> =
                (0..count).map(|number| (number.to_string(), part(number))).collect();
            json!({ "$ref": target(0), "$defs": parts })
        };
        assert_eq!(Costly::of(&json!({ "items": { "type": "null" } })).levels, 3);
        assert_eq!(Costly::of(&chain(10, "#/$defs/0")).levels, 5 + 10 * 3);
        // A place that is not known, or not for certain, counts as the whole.
        assert_eq!(Costly::of(&chain(10, "#/$defs/~10")).levels, 5 + 10 * 3 + 5);
        assert_eq!(Costly::of(&chain(10, "#other")).levels, 5 + 10 * 3 + 5);
        assert_eq!(Costly::of(&chain(300, "#")).check(), Ok(()));
        assert_eq!(Costly::of(&chain(400, "#")).check(), Err(GrammarError::TooDeep { most: MAX_LEVELS }));
    }
}
