//! Prepares JSON schemas for compilation: bounds their size, and narrows them to exclude valid but impractical
//! documents.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{GrammarError, cost::Costly};

/// Maximum length of a schema, in bytes of JSON: longer than any written by people, and compiled in some hundred
/// milliseconds.
const MAX_BYTES: usize = 128 << 10;
/// Maximum nesting depth of a schema, since the compiler recurses that deep.
const MAX_DEPTH: usize = 64;
/// Maximum number of properties of an object that are required where its schema does not say which are: the compiler's
/// work grows with its square.
const MAX_REQUIRED: usize = 100;
/// The largest integer that every JSON parser represents exactly.
const LARGEST: i64 = (1 << 53) - 1;

/// Bounds of numbers.
pub(super) const BOUNDS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];

/// Keywords whose value is one schema.
const ONE: [&str; 4] = ["items", "additionalProperties", "additionalItems", "not"];
/// Keywords whose value is a list of schemas.
const LIST: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
/// Keywords whose value is a map of names to schemas.
const NAMED: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];

/// Keywords that say nothing about a value.
const ANNOTATIONS: [&str; 15] = [
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "default",
    "definitions",
    "description",
    "examples",
    "id",
    "readOnly",
    "title",
    "writeOnly",
];

/// A schema for any JSON object with at least one member: programs take the absence of what they look for as an answer,
/// too.
pub(super) fn any_object() -> Value {
    json!({
        "type": "object",
        "minProperties": 1,
        "additionalProperties": { "$ref": "#/$defs/value" },
        "$defs": { "value": { "anyOf": [
            { "type": ["null", "boolean", "string", "number"] },
            { "type": "array", "items": { "$ref": "#/$defs/value" } },
            { "type": "object", "additionalProperties": { "$ref": "#/$defs/value" } },
        ] } },
    })
}

/// The schema for the compiler. Every document that it allows is valid under `schema`. It excludes white space
/// except single spaces after separators, and, where only one schema applies to each value, unnamed properties, objects
/// without the properties that they name if the schema does not say which are required, and numbers that parsers cannot
/// represent exactly.
///
/// # Errors
/// [`GrammarError::Refused`] when it is not a schema, [`GrammarError::TooLarge`] and [`GrammarError::TooDeep`] when
/// it is beyond the limits.
pub(super) fn narrowed(mut schema: Value) -> Result<Value, GrammarError> {
    if schema == Value::Bool(true) {
        schema = json!({});
    }
    if !schema.is_object() {
        return Err(GrammarError::Refused("a schema is an object".into()));
    }
    let bytes = schema.to_string().len();
    if bytes > MAX_BYTES {
        return Err(GrammarError::TooLarge { what: "schema", bytes, most: MAX_BYTES });
    }
    if depth(&schema) > MAX_DEPTH {
        return Err(GrammarError::TooDeep { most: MAX_DEPTH });
    }
    check_keywords(&mut schema)?;
    drop_off(&mut schema);
    // Where several schemas apply to one value, one may require what another would exclude, so that nothing is
    // narrowed.
    let narrows = !intersects(&mut schema);
    Costly::of(&schema).check()?;
    if narrows {
        narrow(&mut schema);
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(
            "x-guidance".into(),
            json!({
                "whitespace_flexible": false,
                "item_separator": ", ?",
                "key_separator": ": ?",
                // Without `\u` escapes, which could be lone surrogates.
                "json_allowed_escapes": "nrbtf\\\"",
            }),
        );
    }
    Ok(schema)
}

/// Refuses keywords that the compiler ignores or follows only in part.
fn check_keywords(schema: &mut Value) -> Result<(), GrammarError> {
    let Some(keywords) = schema.as_object_mut() else { return Ok(()) };
    let refuse = |reason: String| Err(GrammarError::Refused(reason));
    for key in BOUNDS.into_iter().chain(["multipleOf"]) {
        match keywords.get(key).map(Value::as_f64) {
            Some(None) => return refuse(format!("{key} must be a number")),
            Some(Some(number)) if key == "multipleOf" && number <= 0.0 => {
                return refuse("multipleOf must be above 0".into());
            }
            Some(Some(_)) | None => {}
        }
    }
    let least = keywords.get("minProperties").and_then(Value::as_u64).unwrap_or(0);
    let required = keywords.get("required").and_then(Value::as_array).map_or(0, Vec::len);
    if least > required.max(1) as u64 && may_have_others(keywords) {
        // The automaton does not know which names an object has already.
        return refuse("minProperties can only be enforced for properties with names".into());
    }
    if keywords.get("const").into_iter().chain(keywords.get("enum")).any(is_rounded) {
        return refuse("a number in it is larger than any that can be written exactly".into());
    }
    parts(keywords).try_for_each(check_keywords)
}

/// Whether an object may have properties without a name in the schema.
fn may_have_others(keywords: &Map<String, Value>) -> bool {
    let others = keywords.get("additionalProperties");
    keywords.contains_key("patternProperties")
        || others.is_some_and(|others| *others != Value::Bool(false))
        || others.is_none() && !named_alone(keywords)
}

/// Whether a value has a number that was rounded when it was read.
fn is_rounded(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_f64() && number.as_f64().is_some_and(|number| number.abs() >= LARGEST as f64)
        }
        Value::Array(parts) => parts.iter().any(is_rounded),
        Value::Object(parts) => parts.values().any(is_rounded),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Removes keywords that the compiler rejects although they have no effect.
fn drop_off(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else { return };
    if keywords.get("uniqueItems") == Some(&Value::Bool(false)) {
        keywords.remove("uniqueItems");
    }
    parts(keywords).for_each(drop_off);
}

/// Number of levels of a JSON value; a value without parts has one.
pub(super) fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(parts) => parts.iter().map(depth).max(),
        Value::Object(parts) => parts.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    1 + deepest.unwrap_or(0)
}

/// The keys required by any object of the schema, as written after their opening quote, and those of which it requires
/// some.
pub(super) fn needed(schema: &Value) -> Vec<Vec<u8>> {
    let mut keys = BTreeSet::new();
    collect_needed(&mut schema.clone(), &mut keys);
    keys.into_iter().collect()
}

fn collect_needed(schema: &mut Value, keys: &mut BTreeSet<Vec<u8>>) {
    let Some(keywords) = schema.as_object_mut() else { return };
    let required = keywords.get("required").and_then(Value::as_array).into_iter().flatten();
    let some = keywords.get("properties").filter(|_| keywords.contains_key("minProperties"));
    let some = some.and_then(Value::as_object).into_iter().flat_map(|named| named.keys());
    let names = required.filter_map(Value::as_str).chain(some.map(String::as_str));
    keys.extend(names.map(|name| Value::from(name).to_string().as_bytes()[1..].to_vec()));
    parts(keywords).for_each(|part| collect_needed(part, keys));
}

/// The direct subschemas of a schema.
fn parts(schema: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    schema.iter_mut().flat_map(|(key, value)| -> Vec<&mut Value> {
        let is_in = |keys: [&str; 4]| keys.contains(&key.as_str());
        if is_in(NAMED) {
            value.as_object_mut().map_or_else(Vec::new, |named| named.values_mut().collect())
        } else if is_in(LIST) {
            value.as_array_mut().map_or_else(Vec::new, |list| list.iter_mut().collect())
        } else if is_in(ONE) {
            vec![value]
        } else {
            Vec::new()
        }
    })
}

/// Whether several schemas apply to one value anywhere in the schema.
fn intersects(schema: &mut Value) -> bool {
    let Some(keywords) = schema.as_object_mut() else { return false };
    intersects_here(keywords) || parts(keywords).any(intersects)
}

/// Whether several schemas apply to the value to which this one applies.
pub(super) fn intersects_here(keywords: &Map<String, Value>) -> bool {
    let count = |keys: &[&str]| keywords.keys().filter(|key| keys.contains(&key.as_str())).count();
    let combined = count(&["$ref", "anyOf", "oneOf", "allOf"]);
    let several = keywords.get("allOf").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    // A named property must satisfy the pattern's schema too.
    let named_twice = count(&["properties", "patternProperties"]) == 2;
    several || named_twice || combined > 1 || (combined == 1 && keywords.len() > 1 + count(&ANNOTATIONS))
}

fn narrow(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else { return };
    parts(keywords).for_each(narrow);
    if keywords.contains_key("enum") || keywords.contains_key("const") {
        return;
    }
    let is = |kind: &str| match keywords.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(kinds)) => kinds.iter().any(|one| one == kind),
        _ => false,
    };
    if is("integer") || is("number") {
        let whole = !is("number");
        bound(keywords);
        if !whole {
            include_bounds(keywords);
        }
    } else if is("object") {
        if named_alone(keywords) {
            keywords.insert("additionalProperties".into(), Value::Bool(false));
        }
        require(keywords);
    }
}

/// Requires the properties of an object whose schema does not say which are required: those without a default, or else
/// any one of them. A property whose schema has a reference may lead back to the object, so that it stays optional.
fn require(keywords: &mut Map<String, Value>) {
    if ["required", "minProperties", "maxProperties"].iter().any(|key| keywords.contains_key(*key)) {
        return;
    }
    let Some(properties) = keywords.get("properties").and_then(Value::as_object) else { return };
    if properties.len() > MAX_REQUIRED {
        return;
    }
    let finite = properties.iter().filter(|(_, schema)| schema.is_object() && !has_reference(schema));
    let required = finite.clone().filter(|(_, schema)| schema.get("default").is_none());
    let required: Vec<Value> = required.map(|(name, _)| Value::from(name.as_str())).collect();
    let has_finite = finite.count() > 0;
    if !required.is_empty() {
        keywords.insert("required".into(), Value::Array(required));
    } else if has_finite && !may_have_others(keywords) {
        keywords.insert("minProperties".into(), json!(1));
    }
}

/// Whether a schema has a reference to another one in it.
fn has_reference(schema: &Value) -> bool {
    match schema {
        Value::Array(parts) => parts.iter().any(has_reference),
        Value::Object(parts) => parts.contains_key("$ref") || parts.values().any(has_reference),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether an object can be restricted to its named properties: it names some, requires no others, and has no
/// keyword about others.
fn named_alone(keywords: &Map<String, Value>) -> bool {
    let Some(properties) = keywords.get("properties").and_then(Value::as_object) else { return false };
    let known = |name: &Value| name.as_str().is_some_and(|name| properties.contains_key(name));
    let required = keywords.get("required").and_then(Value::as_array);
    let others = ["additionalProperties", "patternProperties", "minProperties", "propertyNames"];
    !properties.is_empty()
        && required.is_none_or(|names| names.iter().all(known))
        && !others.iter().any(|key| keywords.contains_key(*key))
}

/// Adds bounds to numbers that have none.
fn bound(keywords: &mut Map<String, Value>) {
    let given = |keys: [&str; 2]| keys.iter().filter_map(|key| keywords.get(*key)?.as_f64()).next();
    let low = given(["minimum", "exclusiveMinimum"]);
    let high = given(["maximum", "exclusiveMaximum"]);
    let largest = LARGEST as f64;
    if low.is_none() && high.is_none_or(|high| high > -largest) {
        keywords.insert("minimum".into(), json!(-LARGEST));
    }
    if high.is_none() && low.is_none_or(|low| low < largest) {
        keywords.insert("maximum".into(), json!(LARGEST));
    }
}

/// Replaces exclusive bounds of a narrow interval by inclusive ones: the compiler takes a whole number for inside of an
/// interval that begins or ends at it and is shorter than 1.
fn include_bounds(keywords: &mut Map<String, Value>) {
    const STEPS: f64 = 1e6;
    let number = |key: &str| keywords.get(key).and_then(Value::as_f64);
    let (low, high) = (number("exclusiveMinimum"), number("exclusiveMaximum"));
    let ends = low.or(number("minimum")).zip(high.or(number("maximum")));
    let Some((from, to)) = ends.filter(|(from, to)| (10.0 / STEPS..=1.0).contains(&(to - from))) else {
        return;
    };
    let step = |number: f64, steps: f64| ((number * STEPS).round() + steps) / STEPS;
    if low.is_some() {
        keywords.remove("exclusiveMinimum");
        keywords.insert("minimum".into(), json!(step(from, 1.0)));
    }
    if high.is_some() {
        keywords.remove("exclusiveMaximum");
        keywords.insert("maximum".into(), json!(step(to, -1.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_keep_to_their_names_and_numbers_to_what_can_be_read() {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "integer", "minimum": 3 } } });
        let narrowed = narrowed(schema).unwrap();
        assert_eq!(narrowed["additionalProperties"], json!(false));
        assert_eq!(
            narrowed["properties"]["a"],
            json!({ "type": "integer", "minimum": 3, "maximum": LARGEST })
        );
    }

    #[test]
    fn nothing_is_narrowed_that_could_be_needed() {
        for schema in [
            json!({ "type": "object", "properties": { "a": {} }, "required": ["b"] }),
            json!({ "type": "object", "properties": { "a": {} }, "required": [], "additionalProperties": true }),
            json!({ "type": "object", "properties": { "a": {} }, "maxProperties": 0 , "additionalProperties": false }),
            json!({
                "$ref": "#/$defs/a",
                "$defs": { "a": {
                    "type": "object",
                    "properties": { "a": { "anyOf": [{ "$ref": "#/$defs/a" }, { "type": "null" }] }, "b": false },
                    "additionalProperties": false,
                } },
            }),
            json!({ "allOf": [{ "type": "object", "properties": { "a": {} } }, { "required": ["b"] }] }),
            json!({ "type": "integer", "enum": [1] }),
        ] {
            let mut same = narrowed(schema.clone()).unwrap();
            same.as_object_mut().unwrap().remove("x-guidance");
            assert_eq!(same, schema);
        }
    }

    #[test]
    fn an_object_has_the_properties_that_it_names() {
        let (plain, defaulted) = (json!({ "type": "null" }), json!({ "type": "null", "default": null }));
        let object = |properties: Value| json!({ "type": "object", "properties": properties });
        for (properties, key, expected) in [
            (json!({ "a": plain, "b": defaulted, "c": plain }), "required", json!(["a", "c"])),
            (json!({ "a": defaulted, "b": defaulted }), "minProperties", json!(1)),
            (json!({ "a": plain, "b": { "$ref": "#/properties/a" } }), "required", json!(["a"])),
        ] {
            let narrowed = narrowed(object(properties)).unwrap();
            assert_eq!(narrowed[key], expected, "{narrowed}");
        }
        let open =
            json!({ "type": "object", "properties": { "a": defaulted }, "additionalProperties": true });
        let narrowed = narrowed(open).unwrap();
        assert!(narrowed.get("minProperties").is_none(), "{narrowed}");
    }

    #[test]
    fn exclusive_bounds_of_narrow_intervals_become_inclusive() {
        for (given, expected) in [
            (
                json!({ "exclusiveMinimum": 0, "maximum": 0.5 }),
                json!({ "minimum": 0.000_001, "maximum": 0.5 }),
            ),
            (
                json!({ "exclusiveMinimum": 0, "exclusiveMaximum": 1 }),
                json!({ "minimum": 0.000_001, "maximum": 0.999_999 }),
            ),
            (
                json!({ "minimum": -2.5, "exclusiveMaximum": -2.0 }),
                json!({ "minimum": -2.5, "maximum": -2.000_001 }),
            ),
            (json!({ "exclusiveMinimum": 0, "maximum": 5 }), json!({ "exclusiveMinimum": 0, "maximum": 5 })),
        ] {
            let mut keywords = given.as_object().unwrap().clone();
            include_bounds(&mut keywords);
            assert_eq!(Value::from(keywords), expected);
        }
    }

    #[test]
    fn what_could_not_be_enforced_is_refused() {
        for (schema, word) in [
            (json!({ "type": "integer", "minimum": "5" }), "minimum"),
            (json!({ "type": "integer", "maximum": null }), "maximum"),
            (json!({ "items": { "minimum": 3, "exclusiveMinimum": true } }), "exclusiveMinimum"),
            (json!({ "multipleOf": -3 }), "multipleOf"),
            (json!({ "type": "object", "minProperties": 2 }), "minProperties"),
            (
                json!({ "patternProperties": { "^a": {} }, "properties": { "b": {} }, "minProperties": 2 }),
                "minProperties",
            ),
            (json!({ "enum": [1, [1e30]] }), "larger"),
        ] {
            let told = narrowed(schema).unwrap_err().to_string();
            assert!(told.contains(word), "{told} lacks {word}");
        }
        for schema in [
            json!({ "type": "object", "minProperties": 1 }),
            json!({ "properties": { "a": {}, "b": {} }, "additionalProperties": false, "minProperties": 2 }),
            json!({ "type": "object", "required": ["a", "b"], "minProperties": 2 }),
            json!({ "properties": { "minimum": { "type": "string" } }, "const": 1e10 }),
        ] {
            narrowed(schema).unwrap();
        }
    }

    #[test]
    fn a_schema_is_bounded() {
        assert!(matches!(narrowed(json!([])), Err(GrammarError::Refused(_))));
        let long = json!({ "description": "x".repeat(MAX_BYTES) });
        assert!(matches!(narrowed(long), Err(GrammarError::TooLarge { .. })));
        let deep = (0..100).fold(json!({}), |inner, _| json!({ "items": inner }));
        assert!(matches!(narrowed(deep), Err(GrammarError::TooDeep { .. })));
    }
}
