//! Finds the keys of a JSON object that the system message lists, such as `{reason: string, pass: boolean}` or "with
//! keys `score` and `reason`".
//!
//! Only lists are read that have nothing but names, and types in a word: in other texts a key could be missed, which
//! the answer could then not have.

use judge::Prompt;
use serde_json::{Map, Value, json};

use super::prompt_schema::system_texts;

/// What is before a list of keys.
const BEFORE: &str = "JSON object with";
/// The last word before a list without braces.
const NOUNS: [&str; 6] = ["keys", "key", "fields", "properties", "attributes", "members"];
/// The maximum number of bytes from there to the list or to that word.
const MAX_GAP_BYTES: usize = 40;
/// The maximum number of keys, and of bytes of each.
const MAX_KEYS: usize = 32;
const MAX_KEY_BYTES: usize = 64;
/// The number of lines after a list in which no other item may stand.
const LINES_AFTER: usize = 4;
/// What may stand around a name.
const QUOTES: [char; 6] = ['"', '\'', '`', '*', '“', '”'];

/// The schema of an object with the keys that `prompt` lists; `None` if it lists none.
pub(super) fn schema_of(prompt: &Prompt) -> Option<Value> {
    system_texts(prompt).find_map(|text| {
        let (_, rest) = text.split_once(BEFORE)?;
        schema_in(rest)
    })
}

/// The schema of the keys that are listed at the beginning of a text.
fn schema_in(text: &str) -> Option<Value> {
    let lead_in = &text[..text.floor_char_boundary(MAX_GAP_BYTES)];
    let keys = match lead_in.find('{') {
        Some(start) => {
            let (body, _) =
                text[start + 1..].split_once('}').filter(|(body, _)| !body.contains(['{', '[']))?;
            entries(body, &[',', ';', '\n'])?
        }
        None => {
            let ends =
                NOUNS.iter().filter_map(|noun| Some(lead_in.find(&format!(" {noun}"))? + 1 + noun.len()));
            let rest = &text[ends.max()?..];
            let list = rest.strip_prefix(':').unwrap_or(rest);
            match list.trim_start_matches(' ').strip_prefix('\n') {
                Some(lines) => bulleted(lines)?,
                None if list.starts_with(' ') => listed(list)?,
                None => return None,
            }
        }
    };
    let is_bounded = !keys.is_empty() && keys.len() <= MAX_KEYS;
    let properties: Map<String, Value> = keys.into_iter().collect();
    let required: Vec<&String> = properties.keys().collect();
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    is_bounded.then_some(schema)
}

/// A key, and the schema of its value.
type Key = (String, Value);

/// The keys in a line, up to the end of the sentence, such as "`score`, `pass` and `reason`."
fn listed(text: &str) -> Option<Vec<Key>> {
    let (line, next) = text.split_once('\n').unwrap_or((text, ""));
    let end = line.find(". ").map_or(line.len(), |end| end + 1);
    let sentence = line[..end].trim_end();
    // Otherwise the list may go on in the next line.
    let is_whole = sentence.ends_with('.') || next.lines().next().is_none_or(|line| line.trim().is_empty());
    let list = sentence.trim_end_matches('.').replace(", and ", ", ").replace(" and ", ", ");
    if is_whole { entries(&list, &[',']) } else { None }
}

/// The keys in a list with a line for each, of which what follows the name may be a description.
fn bulleted(lines: &str) -> Option<Vec<Key>> {
    let mut lines = lines.lines().map(str::trim).skip_while(|line| line.is_empty()).peekable();
    let mut keys = Vec::new();
    while let Some(item) = lines.peek().and_then(|line| item(line)) {
        keys.push(entry(item)?);
        lines.next();
    }
    // A description of several lines would hide the keys after it.
    let ends = lines.filter(|line| !line.is_empty()).take(LINES_AFTER).all(|line| item(line).is_none());
    ends.then_some(keys)
}

/// The text of a line of such a list.
fn item(line: &str) -> Option<&str> {
    let number = line.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let numbered = (number.len() < line.len()).then(|| number.strip_prefix('.')).flatten();
    line.strip_prefix(['-', '*', '•']).or(numbered).map(str::trim)
}

/// The keys of a list whose entries are separated by any of `separators`; `None` if one is not a name with a type.
fn entries(list: &str, separators: &[char]) -> Option<Vec<Key>> {
    let entries = list.split(separators).map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|text| {
            let (name, value) = entry(text)?;
            let (_, rest) = text.split_once([':', '(']).unwrap_or_default();
            // More than a type could be the beginning of anything.
            let is_word = !rest.trim_end_matches(')').trim().contains(char::is_whitespace);
            is_word.then_some((name, value))
        })
        .collect()
}

/// A key and what is said about it, after a colon or in parentheses.
fn entry(text: &str) -> Option<Key> {
    let (name, rest) = text.split_once([':', '(']).unwrap_or((text, ""));
    let name = name.trim().trim_end_matches(['-', '–', '—']).trim().trim_matches(QUOTES);
    let is_name = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_' || letter == '-');
    let word = rest.trim().split(|end: char| !end.is_alphanumeric()).next().unwrap_or_default();
    let value = match word.to_ascii_lowercase().as_str() {
        "string" | "str" => json!({ "type": "string" }),
        "boolean" | "bool" => json!({ "type": "boolean" }),
        "integer" | "int" => json!({ "type": "integer" }),
        "number" | "float" => json!({ "type": "number" }),
        _ => json!({}),
    };
    (is_name && !name.is_empty() && name.len() <= MAX_KEY_BYTES).then(|| (name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use judge::{Message, Role};

    use super::*;

    fn found(role: Role, text: &str) -> Option<Value> {
        let messages = vec![Message::text(role, text), Message::text(Role::User, "Is it red?")];
        let schema = schema_of(&Prompt { messages, ..Prompt::default() })?;
        assert_eq!(
            schema["required"].as_array().map(Vec::len),
            schema["properties"].as_object().map(Map::len)
        );
        Some(schema["properties"].clone())
    }

    #[test]
    fn keys_are_read_from_a_list_in_the_turn_of_the_system() {
        let typed = json!({
            "reason": { "type": "string" }, "pass": { "type": "boolean" }, "score": { "type": "number" },
        });
        let plain = json!({ "score": {}, "reason": {} });
        for (text, expected) in [
            (
                "You answer with a JSON object with this structure: {reason: string, pass: boolean, score: number}\n",
                &typed,
            ),
            ("a JSON object with the structure: {\"reason\": string; pass: bool; score: float;}.", &typed),
            ("Return a JSON object with keys \"score\" and 'reason'.", &plain),
            ("Return a JSON object with the following keys: `score`, `reason`. Be strict.", &plain),
            ("Return a JSON object with two fields: score, and reason.", &plain),
            (
                "A single JSON object with the following keys:\n- \"reason\": string, one sentence, or two\n- pass (boolean)\n- score (float either 0 or 1)\n\nNo other keys.",
                &typed,
            ),
            ("A JSON object with these keys:\n\n1. **score**: a grade\n2. **reason**: why\n", &plain),
        ] {
            assert_eq!(found(Role::System, text).as_ref(), Some(expected), "{text}");
            assert_eq!(found(Role::User, text), None);
        }
    }

    #[test]
    fn what_is_no_list_of_names_is_left_alone() {
        for text in [
            "Return JSON.",
            "Return a JSON object with your verdict.",
            "Return a JSON object with keys that say what is wrong.",
            "Return a JSON object with the key \"score\" and a value from 1 to 5.",
            "Return a JSON object with keys:\nFirst, the score.",
            "Return a JSON object with the keys given below by the user, and nothing else that could follow.",
            "Return a JSON object with this structure: {\"score\": {\"value\": 1}}",
            "Return a JSON object with this structure: {\"score\": \"what you think, in a word\"}",
            "Return a JSON object with this structure: {}",
            "Return a JSON object with this structure: {\"score\":{\"value\":1},\"reason\":1}",
            "Return a JSON object with keys score,\nreason.",
            "Return a JSON object with keys:\n- score: from 1\n  to 10\n- reason: why\n",
            "Return a JSON object with keys:\n- score\n\n- reason\n",
        ] {
            assert_eq!(found(Role::System, text), None, "{text}");
        }
        let many: Vec<String> = (0..=MAX_KEYS).map(|key| format!("k{key}")).collect();
        assert_eq!(found(Role::System, &format!("A JSON object with keys {}.", many.join(", "))), None);
    }
}
