//! Parses the `[[keys]]` of a file and reports everything that is wrong with them.

use std::fmt::{self, Display};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
    value::Datetime,
};

use super::{
    expiry::moment,
    key::{FormsOfKey, Key, KeyDigest, PREFIX, Priority},
};

/// The name of the array of tables that holds the keys.
pub(crate) const KEYS: &str = "keys";
/// The longest id of a key, in characters.
const MAX_ID: usize = 64;

/// A problem in a key file. Its texts contain nothing that may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyProblem {
    /// Line number, from 1.
    pub(crate) line: usize,
    /// The invalid field, such as `keys.sha256`, or `keys` for the whole entry.
    field: String,
    /// The id of the key if it is valid, otherwise the position of the entry; `None` for a problem of the file as a
    /// whole.
    key: Option<String>,
    pub(crate) reason: String,
}

impl Display for KeyProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, key, reason, .. } = self;
        match key {
            Some(key) => write!(formatter, "{field} of {key}: {reason}"),
            None => formatter.write_str(reason),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: Spanned<String>,
    sha256: Spanned<String>,
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
    images_per_minute: Option<u64>,
    concurrent_requests: Option<u64>,
    queue_share: Option<f32>,
    stored_share: Option<f32>,
    #[serde(default)]
    priority: Priority,
    forms: Option<String>,
    expires: Option<Datetime>,
    #[serde(default)]
    admin: bool,
}

/// Reads the keys of a file and ignores its other tables.
///
/// # Errors
/// The first problem of each invalid entry, or the syntax error of the file.
pub(crate) fn read_keys(text: &str) -> Result<Vec<Key>, Vec<KeyProblem>> {
    let line = |start: usize| text[..start.min(text.len())].matches('\n').count() + 1;
    let whole = |start: usize, reason: &str| {
        vec![KeyProblem { line: line(start), field: KEYS.into(), key: None, reason: reason.to_owned() }]
    };
    // Only the parser's message: the line that it quotes may contain a secret.
    let document = DeTable::parse(text)
        .map_err(|error| whole(error.span().map_or(0, |span| span.start), error.message()))?;
    let found = document.into_inner().into_iter().find(|(name, _)| name.get_ref() == KEYS);
    let Some((name, value)) = found else { return Ok(Vec::new()) };
    let DeValue::Array(entries) = value.into_inner() else {
        return Err(whole(name.span().start, "keys: each stands under a [[keys]] of its own"));
    };
    let (mut keys, mut problems): (Vec<Key>, Vec<KeyProblem>) = (Vec::new(), Vec::new());
    for (index, entry) in entries.into_iter().enumerate() {
        let (start, name) = (entry.span().start, name_of(entry.get_ref(), index));
        let problem = |start: usize, field: &str, reason: String| {
            let field = if field.is_empty() { KEYS.to_owned() } else { format!("{KEYS}.{field}") };
            KeyProblem { line: line(start), field, key: Some(name.clone()), reason }
        };
        // The parser would also read a list, as the members in their order.
        if !matches!(entry.get_ref(), DeValue::Table(_)) {
            problems.push(problem(start, "", "each key stands under a [[keys]] of its own".into()));
            continue;
        }
        let entry = match Entry::deserialize(ValueDeserializer::from(entry)) {
            Ok(entry) => entry,
            Err(error) => {
                let start = error.span().map_or(start, |span| span.start);
                problems.push(problem(start, "", error.message().to_owned()));
                continue;
            }
        };
        let (id_start, digest_start) = (entry.id.span().start, entry.sha256.span().start);
        let known = |same: &dyn Fn(&Key) -> bool| keys.iter().any(same);
        match entry.into_key() {
            Ok(key) if known(&|other| other.id == key.id) => {
                problems.push(problem(id_start, "id", "there are two keys with this id".into()));
            }
            Ok(key) if known(&|other| other.digest == key.digest) => {
                problems.push(problem(digest_start, "sha256", "another key has the same digest".into()));
            }
            Ok(key) => keys.push(key),
            Err(Wrong { field, reason }) => {
                let start = match field {
                    "id" => id_start,
                    "sha256" => digest_start,
                    _ => start,
                };
                problems.push(problem(start, field, reason));
            }
        }
    }
    if problems.is_empty() { Ok(keys) } else { Err(problems) }
}

/// The name of an entry in messages: its id, or its position if the id is invalid or looks like a key, which is not
/// repeated.
fn name_of(entry: &DeValue<'_>, index: usize) -> String {
    let id = match entry {
        DeValue::Table(members) => members.iter().find(|(name, _)| name.get_ref() == "id"),
        _ => None,
    };
    let id = id.and_then(|(_, id)| id.get_ref().as_str());
    match id.filter(|id| is_name(id) && !id.starts_with(PREFIX)) {
        Some(id) => format!("{id:?}"),
        None => format!("entry {}", index + 1),
    }
}

fn is_name(id: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    !id.is_empty() && id.len() <= MAX_ID && id.chars().all(plain)
}

/// A problem in an entry, and the field that has it.
struct Wrong {
    field: &'static str,
    reason: String,
}

impl Entry {
    fn into_key(self) -> Result<Key, Wrong> {
        let wrong = |field, reason: &str| Err(Wrong { field, reason: reason.to_owned() });
        let id = self.id.into_inner();
        if !is_name(&id) {
            return wrong("id", &format!("1 to {MAX_ID} letters, digits, '-', '_' and '.' are wanted"));
        }
        let Some(digest) = digest_of_hex(self.sha256.get_ref()) else {
            return wrong("sha256", "the SHA-256 of the key is wanted, as 64 hexadecimal digits");
        };
        let bounds = [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("images_per_minute", self.images_per_minute),
            ("concurrent_requests", self.concurrent_requests),
        ];
        if let Some((name, _)) = bounds.iter().find(|(_, bound)| *bound == Some(0)) {
            return wrong(*name, "more than 0 is wanted");
        }
        let shares = [("queue_share", self.queue_share), ("stored_share", self.stored_share)];
        let none = |share: f32| !(share > 0.0 && share <= 1.0);
        if let Some((name, _)) = shares.iter().find(|(_, share)| share.is_some_and(none)) {
            return wrong(*name, "more than 0 and at most 1 is wanted");
        }
        let expires = match &self.expires {
            None => None,
            Some(said) => match moment(said) {
                Some(moment) => Some(moment),
                None => {
                    let wanted = "a date is wanted, or a time with its offset, such as 2026-12-31T12:00:00Z";
                    return wrong("expires", wanted);
                }
            },
        };
        Ok(Key {
            id,
            digest,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            images_per_minute: self.images_per_minute,
            concurrent_requests: self.concurrent_requests,
            queue_share: self.queue_share,
            stored_share: self.stored_share,
            priority: self.priority,
            forms: self.forms.map(|forms| match forms.as_str() {
                "auto" => FormsOfKey::Auto,
                "off" => FormsOfKey::Off,
                _ => FormsOfKey::Named(forms),
            }),
            expires,
            admin: self.admin,
        })
    }
}

fn digest_of_hex(text: &str) -> Option<KeyDigest> {
    let mut digest = KeyDigest::default();
    let bytes = text.as_bytes();
    if bytes.len() != 2 * digest.len() {
        return None;
    }
    for (byte, digits) in digest.iter_mut().zip(bytes.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = (value(digits[0])? << 4 | value(digits[1])?) as u8;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_without_the_value() {
        let digest = "0".repeat(64);
        let entry = |more: &str| format!("[[keys]]\nid = \"a\"\nsha256 = \"{digest}\"\n{more}");
        for (text, line, words) in [
            ("[[keys]]\nid = \"a b\"\nsha256 = \"\"\n".into(), 2, "keys.id"),
            ("[[keys]]\nid = \"a\"\nsha256 = \"gavel-secret\"\n".into(), 3, "keys.sha256"),
            ("[[keys]]\nid = \"a\"\n".into(), 1, "sha256"),
            (format!("keys = [[\"a\", \"{digest}\"]]\n"), 1, "[[keys]]"),
            ("keys = [5]\n".into(), 1, "[[keys]]"),
            (entry("key = \"gavel-secret\"\n"), 4, "unknown field `key`"),
            (entry("tokens_per_minute = 0\n"), 1, "keys.tokens_per_minute"),
            (entry("queue_share = 1.5\n"), 1, "keys.queue_share"),
            (entry("stored_share = 0.0\n"), 1, "keys.stored_share"),
            (entry("expires = 2026-12-31T12:00:00\n"), 1, "keys.expires"),
            (entry("expires = \"tomorrow\"\n"), 4, "datetime"),
            (entry("priority = \"first\"\n"), 4, "low"),
            (entry(&entry("")), 5, "two keys"),
            (entry(&entry("").replace("\"a\"", "\"b\"")), 6, "same digest"),
        ] {
            let problems = read_keys(&text).unwrap_err();
            let [problem] = &problems[..] else { panic!("{problems:?} in {text}") };
            assert_eq!(problem.line, line, "{problem:?} in {text}");
            let told = problem.to_string();
            assert!(told.contains(words) && !told.contains("secret"), "{told}");
        }
        assert_eq!(read_keys("[server]\nport = 1\n").unwrap(), []);
    }

    #[test]
    fn every_wrong_entry_is_told_with_its_name() {
        let digest = "0".repeat(64);
        let text = format!(
            "[[keys]]\nid = \"a\"\nsha256 = \"0\"\n[[keys]]\nid = \"b\"\nsha256 = \"{digest}\"\nadmin = 1\n\
             [[keys]]\nid = \"right\"\nsha256 = \"{digest}\"\n[[keys]]\nid = \"gavel-secret\"\nsha256 = 1\n"
        );
        let told: Vec<(usize, String)> =
            read_keys(&text).unwrap_err().iter().map(|problem| (problem.line, problem.to_string())).collect();
        for ((line, told), (wanted, words)) in told.iter().zip([
            (3, "keys.sha256 of \"a\": the SHA-256"),
            (7, "keys of \"b\": invalid type"),
            (13, "keys of entry 4: invalid type"),
        ]) {
            assert!(*line == wanted && told.starts_with(words), "{line}: {told}");
        }
        assert_eq!(told.len(), 3, "{told:?}");
        let problems = read_keys("keys = 5\n").unwrap_err();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.line == 1 && problem.to_string().contains("[[keys]]"), "{problem}");
    }
}
