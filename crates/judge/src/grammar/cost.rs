//! What a schema would cost, known before it is compiled.
//!
//! The compiler's own limits are on its rules and on single steps of the automaton. How many strings and numbers it looks
//! through to see whether any exists, how long, and how deep it follows references is bounded here.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};

use super::{
    GrammarError,
    pattern::{self, Breadth},
    schema::{depth, intersects_here},
    unanchored,
};

/// Maximum number of names of properties that are given by a pattern: the compiler compares each with each other, for up
/// to ten milliseconds.
const MAX_NAMES: usize = 16;
/// Maximum number of strings with a pattern or a format: the compiler looks for up to ten milliseconds whether there is
/// one.
const MAX_STRINGS: usize = 64;
/// The greatest sum of the numbers of which others are multiples: the automaton has a state for each remainder and each
/// length of a number, which takes some microseconds.
const MAX_MULTIPLES: f64 = 20_000.0;
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
    /// The digits of the numbers of which others are multiples, as whole numbers.
    multiples: Vec<f64>,
}

impl Costly {
    /// The costly parts of a schema.
    pub(super) fn of(schema: &Value) -> Self {
        let (mut found, mut references) = (Self::default(), BTreeSet::new());
        found.collect(schema, &mut references);
        let all = depth(schema);
        let leads_to = |reference: &&str| {
            let pointer = reference.split_once('#').map_or("", |(_, pointer)| pointer);
            // What is not found here may be any part.
            schema.pointer(pointer).map_or(all, depth)
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
        self.formats += usize::from(keywords.contains_key("format"));
        let names = keywords.get("patternProperties").and_then(Value::as_object);
        self.names.extend(names.into_iter().flat_map(|names| names.keys().cloned()));
        self.multiples.extend(keywords.get("multipleOf").and_then(Value::as_number).map(digits));
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
        for (count, most) in
            [(self.names.len(), MAX_NAMES), (self.patterns.len() + self.formats, MAX_STRINGS)]
        {
            if count > most {
                return Err(GrammarError::TooMany { count, most });
            }
        }
        let remainders: f64 =
            if self.intersects { self.multiples.iter().product() } else { self.multiples.iter().sum() };
        if remainders > MAX_MULTIPLES {
            return Err(GrammarError::TooComplex);
        }
        let breadths = self.all_patterns().filter_map(|pattern| {
            let breadth = Breadth::of(pattern).transpose();
            let is_whole = pattern.starts_with('^') && unanchored(pattern).len() + 2 == pattern.len();
            breadth.map(|breadth| breadth.map(|one| if is_whole { one } else { one.anywhere() }))
        });
        let breadths = breadths.collect::<Result<Vec<Breadth>, _>>()?;
        if self.intersects { Breadth::intersected(&breadths) } else { Ok(()) }
    }

    /// What is wrong with the first pattern that is invalid, in one line; `None` if none is.
    pub(super) fn mistake(&self) -> Option<String> {
        self.all_patterns().find_map(|pattern| pattern::mistake(unanchored(pattern)))
    }

    fn all_patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().chain(&self.names).map(String::as_str)
    }
}

/// The digits of a number as a whole number: 25 for 0.25.
fn digits(number: &Number) -> f64 {
    let text = number.to_string();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = mantissa.strip_suffix(".0").unwrap_or(mantissa).replace(['.', '-'], "");
    let mantissa: f64 = mantissa.parse().unwrap_or(f64::INFINITY);
    // Negative exponents move the point only.
    mantissa * 10_f64.powi(exponent.parse().unwrap_or(0).max(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digits_of_a_number_are_counted_without_its_point() {
        for (number, expected) in [
            (json!(7), 7.0),
            (json!(0.25), 25.0),
            (json!(0.01), 1.0),
            (json!(1e-9), 1.0),
            (json!(5.0), 5.0),
            (json!(1e20), 1e20),
        ] {
            assert_eq!(digits(number.as_number().unwrap()), expected, "{number}");
        }
    }

    #[test]
    fn what_is_costly_is_bounded_over_the_whole_schema() {
        let list = |count: usize, item: Value| json!({ "prefixItems": vec![item; count] });
        let all = |count: usize, item: Value| json!({ "allOf": vec![item; count] });
        // Where a reference may lead as well.
        let example = |count: usize, item: Value| json!({ "examples": vec![item; count] });
        let many = |count, most| Err(GrammarError::TooMany { count, most });
        let two = || json!({ "pattern": "[ab]*a[ab]*" });
        for (schema, expected) in [
            (list(64, json!({ "format": "email" })), Ok(())),
            (list(65, json!({ "format": "email" })), many(65, 64)),
            (example(65, json!({ "pattern": "a" })), many(65, 64)),
            (list(17, json!({ "patternProperties": { "^a": {} } })), many(17, 16)),
            (list(2, json!({ "multipleOf": 10_000 })), Ok(())),
            (list(2, json!({ "multipleOf": 0.0101 })), Ok(())),
            (list(3, json!({ "multipleOf": 10_000 })), Err(GrammarError::TooComplex)),
            (all(2, json!({ "multipleOf": 10_000 })), Err(GrammarError::TooComplex)),
            (list(20, two()), Ok(())),
            (all(20, two()), Err(GrammarError::TooComplex)),
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
        // A place that is not known counts as the whole.
        assert_eq!(Costly::of(&chain(10, "#other")).levels, 5 + 10 * 3 + 5);
        assert_eq!(Costly::of(&chain(300, "#")).check(), Ok(()));
        assert_eq!(Costly::of(&chain(400, "#")).check(), Err(GrammarError::TooDeep { most: MAX_LEVELS }));
    }
}
