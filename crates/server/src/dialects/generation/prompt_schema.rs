//! Finds the JSON schema that a library writes into the system message.
//!
//! Other messages are not searched: they contain the text that is judged, which must not determine the form of its
//! verdict.

use judge::{Part, Prompt, Role};
use serde_json::{Value, json};

/// What is before the schema, in the instructions of instructor, of langchain's parsers and of llama-index.
const BEFORE: [&str; 3] =
    ["match the following json_schema:", "Here is the output schema", "Here's a JSON schema to follow"];
/// The maximum number of bytes from there to the schema: the rest of a sentence, and the opening of a code block.
const MAX_GAP_BYTES: usize = 160;
/// The maximum length of a schema in bytes. Typical schemas have a few thousand.
const MAX_SCHEMA_BYTES: usize = 64 << 10;

/// The schema of the object that `prompt` asks for; `None` if it has none, or the text in its place is not one.
pub(super) fn schema_of(prompt: &Prompt) -> Option<Value> {
    system_texts(prompt).find_map(|text| BEFORE.iter().find_map(|before| schema_after(text, before)))
}

/// The texts of the system.
pub(super) fn system_texts(prompt: &Prompt) -> impl Iterator<Item = &str> {
    let systems = prompt.messages.iter().filter(|message| message.role == Role::System);
    systems.flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Image(_) | Part::Video(_) => None,
    })
}

/// The schema that follows the last `before` in a text: the instructions are at its end.
fn schema_after(text: &str, before: &str) -> Option<Value> {
    let (_, rest) = text.rsplit_once(before)?;
    let start = rest.find('{').filter(|gap| *gap <= MAX_GAP_BYTES)?;
    let mut documents = serde_json::Deserializer::from_str(&rest[start..]).into_iter::<Value>();
    let mut schema = documents.next()?.ok()?;
    if documents.byte_offset() > MAX_SCHEMA_BYTES || !schema["properties"].is_object() {
        return None;
    }
    // Some parsers leave the type out.
    if schema["type"].is_null() {
        schema["type"] = json!("object");
    }
    (schema["type"] == "object").then_some(schema)
}

#[cfg(test)]
mod tests {
    use judge::Message;

    use super::*;

    const SCHEMA: &str = r#"{ "type": "object", "properties": { "score": { "type": "integer" } } }"#;

    fn instructions(schema: &str) -> String {
        format!("Judge.\n\nProvide objects in json that {}\n\n\n{schema}\n\nReturn no {{}}.\n", BEFORE[0])
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
    fn a_schema_is_read_after_the_instructions_of_each_library() {
        let untyped = SCHEMA.replace(r#""type": "object", "#, "");
        for text in [
            format!("An instance of {{\"properties\": {{}}}} is {{}}.\n{}:\n```\n{untyped}\n```", BEFORE[1]),
            format!(
                "{} (shown in a code block, without which it is returned):\n```\n{SCHEMA}\n```",
                BEFORE[1]
            ),
            format!("Judge.\n{}:\n{SCHEMA}\n\nDo not repeat the schema.", BEFORE[2]),
        ] {
            let expected: Value = serde_json::from_str(SCHEMA).unwrap();
            assert_eq!(schema_found(Role::System, &text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_schema_of_an_object_is_left_alone() {
        let long = SCHEMA.replace("score", &"s".repeat(MAX_SCHEMA_BYTES));
        let far = format!("{}{SCHEMA}", " ".repeat(MAX_GAP_BYTES + 1));
        for schema in
            ["", "score", "[]", "{}", r#"{ "type": "string" }"#, r#"{ "type": "object" }"#, "{", &long, &far]
        {
            assert_eq!(schema_found(Role::System, &instructions(schema)), None, "{schema:.80}");
        }
        assert_eq!(schema_found(Role::System, SCHEMA), None);
    }
}
