//! The call of a function, and how it is read from the critic's text.

use judge::FinishReason;
use serde_json::{Map, Value, json};

/// What is between the function's name and its arguments, up to an optional space.
const ARGUMENTS: &str = "\"arguments\":";

/// A function to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) callee: Callee,
    pub(crate) style: CallStyle,
}

/// Which function is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Callee {
    /// The function of this name; the critic's text is its arguments.
    Known(String),
    /// One of several, whose name is in the critic's text: `{"name": …, "arguments": {…}}`.
    Written,
}

/// The form in which a call is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallStyle {
    /// As a tool that the request names; `finish_reason` is `stop`, as at OpenAI.
    Named,
    /// As a tool that the request requires; `finish_reason` is `tool_calls`.
    Required,
    /// As a function, in the older form.
    Function,
}

/// The schema of the text for functions with these names and schemas of arguments.
pub(super) fn schema_of(functions: Vec<(String, Map<String, Value>)>) -> Value {
    let part = |(index, (name, mut arguments)): (usize, (String, Map<String, Value>))| {
        // References to parts of the arguments begin at the whole schema now, also if it had a name of its own.
        arguments.remove("$id");
        arguments.remove("$schema");
        let mut arguments = Value::Object(arguments);
        move_references(&mut arguments, &format!("/anyOf/{index}/properties/arguments"));
        json!({
            "type": "object",
            "properties": { "name": { "const": name }, "arguments": arguments },
            "required": ["name", "arguments"],
            "additionalProperties": false,
        })
    };
    json!({ "anyOf": functions.into_iter().enumerate().map(part).collect::<Vec<Value>>() })
}

/// Prefixes the references of a schema to its own parts with `base`, the place to which it is moved.
fn move_references(schema: &mut Value, base: &str) {
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(|part| move_references(part, base)),
        Value::Object(parts) => {
            for (key, part) in parts {
                match part.as_str().and_then(|reference| reference.strip_prefix('#')) {
                    Some(pointer) if key == "$ref" && (pointer.is_empty() || pointer.starts_with('/')) => {
                        *part = Value::String(format!("#{base}{pointer}"));
                    }
                    _ => move_references(part, base),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// More of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CallPart {
    /// The name of the function, in the first part alone.
    pub(crate) name: Option<String>,
    /// More of the arguments.
    pub(crate) arguments: String,
}

/// Reads the function and its arguments from the text of a call while it is written.
#[derive(Debug, Clone)]
pub(crate) struct CallReader {
    /// The name of the function, once it is known.
    name: Option<String>,
    /// Whether the text is the object around the arguments.
    is_wrapped: bool,
    /// What was written and is not yet part of the call: the text before the arguments, or its last character, which
    /// may be the end of the object.
    held: String,
}

impl CallReader {
    pub(crate) fn new(call: &Call) -> Self {
        let name = match &call.callee {
            Callee::Known(name) => Some(name.clone()),
            Callee::Written => None,
        };
        Self { is_wrapped: name.is_none(), name, held: String::new() }
    }

    /// The name of the function; `None` if the critic has not written it yet.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What `text`, the next part of the text, adds to the call; `None` if nothing yet.
    pub(crate) fn push(&mut self, text: &str) -> Option<CallPart> {
        if !self.is_wrapped {
            return Some(CallPart { name: None, arguments: text.to_owned() });
        }
        self.held += text;
        let mut named = None;
        if self.name.is_none() {
            let (name, rest) = opened(&self.held)?;
            let rest = rest.to_owned();
            self.held = rest;
            self.name = Some(name.clone());
            named = Some(name);
        }
        let last = self.held.char_indices().next_back().map_or(0, |(index, _)| index);
        let last = self.held.split_off(last);
        let arguments = std::mem::replace(&mut self.held, last);
        (named.is_some() || !arguments.is_empty()).then_some(CallPart { name: named, arguments })
    }

    /// What the end of the text adds to the call: what is held is the end of the object only in a text that is
    /// complete.
    pub(crate) fn finish(&mut self, reason: FinishReason) -> Option<CallPart> {
        let held = std::mem::take(&mut self.held);
        let is_part = reason == FinishReason::Length && self.name.is_some() && !held.is_empty();
        is_part.then_some(CallPart { name: None, arguments: held })
    }

    /// The function's name and arguments in a text that has ended; `None` if it ended before the arguments.
    pub(crate) fn read(call: &Call, text: &str, reason: FinishReason) -> Option<(String, String)> {
        let mut reader = Self::new(call);
        let parts = [reader.push(text), reader.finish(reason)];
        let arguments = parts.into_iter().flatten().map(|part| part.arguments).collect();
        reader.name.map(|name| (name, arguments))
    }
}

/// The function's name and the beginning of its arguments; `None` if these have not begun.
fn opened(text: &str) -> Option<(String, &str)> {
    // Quotes in a name are escaped, so that this cannot be part of one.
    let (before, rest) = text.split_once(ARGUMENTS)?;
    let rest = Some(rest.trim_start()).filter(|rest| !rest.is_empty())?;
    let object = format!("{}}}", before.trim_end().trim_end_matches(','));
    let object: Value = serde_json::from_str(&object).ok()?;
    Some((object["name"].as_str()?.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Call {
        Call { callee: Callee::Written, style: CallStyle::Required }
    }

    #[test]
    fn a_call_is_read_from_its_text_however_that_is_cut() {
        let name = "say \"arguments\": {\"x\"";
        let arguments = r#"{"arguments": {"b": "größe }"}}"#;
        let text = format!(r#"{{"name": {}, "arguments": {arguments}}}"#, Value::from(name));
        let whole = CallReader::read(&written(), &text, FinishReason::Stop);
        assert_eq!(whole, Some((name.to_owned(), arguments.to_owned())));
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let mut reader = CallReader::new(&written());
            let parts =
                [reader.push(&text[..at]), reader.push(&text[at..]), reader.finish(FinishReason::Stop)];
            let parts: Vec<CallPart> = parts.into_iter().flatten().collect();
            assert_eq!(parts[0].name.as_deref(), Some(name));
            assert!(parts[1..].iter().all(|part| part.name.is_none()));
            assert_eq!(parts.into_iter().map(|part| part.arguments).collect::<String>(), arguments, "{at}");
        }
    }

    #[test]
    fn a_text_that_is_cut_off_keeps_what_it_has() {
        let read = |text: &str| CallReader::read(&written(), text, FinishReason::Length);
        let call = |arguments: &str| Some(("a".to_owned(), arguments.to_owned()));
        assert_eq!(read(r#"{"name":"a","arguments":{"b":1}"#), call(r#"{"b":1}"#));
        assert_eq!(read(r#"{"name":"a","arguments":{"b"#), call(r#"{"b"#));
        for early in ["", r#"{"name":"a""#, r#"{"name":"a","arguments": "#] {
            assert_eq!(read(early), None, "{early}");
        }
        let known = Call { callee: Callee::Known("a".into()), ..written() };
        assert_eq!(CallReader::read(&known, r#"{"b"#, FinishReason::Length), call(r#"{"b"#));
        assert_eq!(CallReader::read(&known, r#"{"b":1}"#, FinishReason::Stop), call(r#"{"b":1}"#));
    }

    #[test]
    fn references_lead_to_the_same_parts_as_before() {
        let arguments = json!({
            "$id": "https://example.com/a",
            "properties": { "x": { "$ref": "#/$defs/x" }, "y": { "items": [{ "$ref": "#" }] } },
            "$defs": { "x": { "type": "null" } },
        });
        let functions = ["a", "b"].map(|name| (name.to_owned(), arguments.as_object().unwrap().clone()));
        let schema = schema_of(functions.into());
        let moved = &schema["anyOf"][1]["properties"]["arguments"];
        let target = |reference: &Value| schema.pointer(&reference["$ref"].as_str().unwrap()[1..]).unwrap();
        assert_eq!(target(&moved["properties"]["x"]), &json!({ "type": "null" }));
        assert_eq!(target(&moved["properties"]["y"]["items"][0]), moved);
        assert!(moved.get("$id").is_none());
    }
}
