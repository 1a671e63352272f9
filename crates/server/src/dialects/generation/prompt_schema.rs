//! Finds the JSON schema that the instructor library writes into the system message.
//!
//! Other messages are not searched: they contain the text that is judged, which must not determine the form of its
//! verdict.

use judge::{Part, Prompt, Role};
use serde_json::Value;

/// The text before the schema, and the text after it.
const BEFORE: &str = "match the following json_schema:";
const AFTER: &str = "Make sure to return an instance of the JSON, not the schema itself";
/// The maximum length of a schema in bytes. Typical schemas have a few thousand.
const MAX_SCHEMA_BYTES: usize = 64 << 10;

/// The schema of the object that `prompt` asks for; `None` if it has none, or the text in its place is not one.
pub(super) fn schema_of(prompt: &Prompt) -> Option<Value> {
    let systems = prompt.messages.iter().filter(|message| message.role == Role::System);
    let mut texts = systems.flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Image(_) | Part::Video(_) => None,
    });
    texts.find_map(schema_in)
}

/// The schema in a text; instructor appends it at the end.
fn schema_in(text: &str) -> Option<Value> {
    let (_, rest) = text.rsplit_once(BEFORE)?;
    let (schema, _) = rest.split_once(AFTER)?;
    let schema = Some(schema.trim()).filter(|schema| schema.len() <= MAX_SCHEMA_BYTES)?;
    let schema: Value = serde_json::from_str(schema).ok()?;
    (schema["type"] == "object" && schema["properties"].is_object()).then_some(schema)
}

#[cfg(test)]
mod tests {
    use judge::Message;

    use super::*;

    const SCHEMA: &str = r#"{ "type": "object", "properties": { "score": { "type": "integer" } } }"#;

    fn instructions(schema: &str) -> String {
        format!("Judge.\n\nProvide objects in json that {BEFORE}\n\n\n{schema}\n\n{AFTER}\n")
    }

    fn schema_found(role: Role, text: &str) -> Option<Value> {
        let messages = vec![Message::text(Role::User, "What is it?"), Message::text(role, text)];
        schema_of(&Prompt { messages, ..Prompt::default() })
    }

    #[test]
    fn a_schema_is_read_in_the_turn_of_the_system_alone() {
        assert_eq!(schema_found(Role::System, &instructions(SCHEMA)), serde_json::from_str(SCHEMA).unwrap());
        assert_eq!(schema_found(Role::User, &instructions(SCHEMA)), None);
        assert_eq!(schema_found(Role::Assistant, &instructions(SCHEMA)), None);
    }

    #[test]
    fn what_is_no_schema_of_an_object_is_left_alone() {
        let long = SCHEMA.replace("score", &"s".repeat(MAX_SCHEMA_BYTES));
        for schema in
            ["", "score", "[]", "{}", r#"{ "type": "string" }"#, r#"{ "type": "object" }"#, "{", &long]
        {
            assert_eq!(schema_found(Role::System, &instructions(schema)), None, "{schema:.80}");
        }
        assert_eq!(schema_found(Role::System, &instructions(SCHEMA).replace(AFTER, "")), None);
        assert_eq!(schema_found(Role::System, SCHEMA), None);
    }
}
