//! Parses the `[[keys]]` of a file and reports everything that is wrong with them.

use std::{
    fmt::{self, Display},
    ops::Range,
};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{self, DeTable, DeValue, ValueDeserializer},
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

/// The fields of an entry. A message names no other field: its name may be a key in the wrong place.
const FIELDS: [&str; 12] = [
    "id",
    "sha256",
    "requests_per_minute",
    "tokens_per_minute",
    "images_per_minute",
    "concurrent_requests",
    "queue_share",
    "stored_share",
    "priority",
    "forms",
    "expires",
    "admin",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    sha256: String,
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
        let name = name_of(entry.get_ref(), index);
        match read_key(entry, &keys) {
            Ok(key) => keys.push(key),
            Err(EntryProblem { start, wrong: Wrong { field, reason } }) => {
                let field = if field.is_empty() { KEYS.to_owned() } else { format!("{KEYS}.{field}") };
                problems.push(KeyProblem { line: line(start), field, key: Some(name), reason });
            }
        }
    }
    if problems.is_empty() { Ok(keys) } else { Err(problems) }
}

/// What is wrong with an entry, and the byte of the file at which it begins.
struct EntryProblem {
    start: usize,
    wrong: Wrong,
}

/// Reads an entry that stands after those of the keys in `before`.
///
/// # Errors
/// The first problem of the entry, such as an id or a digest that one of `before` has.
fn read_key(entry: Spanned<DeValue<'_>>, before: &[Key]) -> Result<Key, EntryProblem> {
    let start = entry.span().start;
    // The parser would also read a list, as the members in their order.
    let DeValue::Table(members) = entry.get_ref() else {
        let wrong = Wrong::new("", "each key stands under a [[keys]] of its own");
        return Err(EntryProblem { start, wrong });
    };
    let places: Vec<(&'static str, Range<usize>)> = members
        .iter()
        .filter_map(|(name, value)| {
            let field = FIELDS.into_iter().find(|field| name.get_ref() == field)?;
            Some((field, name.span().start..value.span().end))
        })
        .collect();
    let entry = Entry::deserialize(ValueDeserializer::from(entry)).map_err(|error: de::Error| {
        let start = error.span().map_or(start, |span| span.start);
        let field = places.iter().find(|(_, place)| place.contains(&start)).map_or("", |(field, _)| field);
        EntryProblem { start, wrong: Wrong::new(field, error.message()) }
    })?;
    entry.into_key().and_then(|key| key_unlike(key, before)).map_err(|wrong| {
        let place = places.iter().find(|(field, _)| *field == wrong.field);
        EntryProblem { start: place.map_or(start, |(_, place)| place.start), wrong }
    })
}

/// The problems of the entries in `text` whose `forms` names a form that is not `known`. Entries with other problems are
/// left to [`read_keys`].
pub(crate) fn unknown_forms(text: &str, known: impl Fn(&str) -> bool) -> Vec<KeyProblem> {
    let Ok(document) = DeTable::parse(text) else { return Vec::new() };
    let entries = document.get_ref().iter().find(|(name, _)| name.get_ref() == KEYS);
    let Some(entries) = entries.and_then(|(_, entries)| entries.get_ref().as_array()) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let DeValue::Table(members) = entry.get_ref() else { continue };
        let Some((place, forms)) = members.iter().find(|(name, _)| name.get_ref() == "forms") else {
            continue;
        };
        let Some(forms) = forms.get_ref().as_str() else { continue };
        if !known(forms) && forms != "auto" && forms != "off" {
            problems.push(KeyProblem {
                line: text[..place.span().start].matches('\n').count() + 1,
                field: format!("{KEYS}.forms"),
                key: Some(name_of(entry.get_ref(), index)),
                reason: "there is no form of this name; the names, auto and off are allowed".into(),
            });
        }
    }
    problems
}

/// `key`, if none of `others` has its id or its digest.
fn key_unlike(key: Key, others: &[Key]) -> Result<Key, Wrong> {
    if others.iter().any(|other| other.id == key.id) {
        return Err(Wrong::new("id", "there are two keys with this id"));
    }
    if others.iter().any(|other| other.digest == key.digest) {
        return Err(Wrong::new("sha256", "another key has the same digest"));
    }
    Ok(key)
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

/// A problem in an entry, and the field that has it; an empty name stands for the whole entry.
struct Wrong {
    field: &'static str,
    reason: String,
}

impl Wrong {
    fn new(field: &'static str, reason: &str) -> Self {
        Self { field, reason: reason.to_owned() }
    }
}

impl Entry {
    /// Checks the quotas and the shares.
    fn check_limits(&self) -> Result<(), Wrong> {
        let bounds = [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("images_per_minute", self.images_per_minute),
            ("concurrent_requests", self.concurrent_requests),
        ];
        if let Some((name, _)) = bounds.iter().find(|(_, bound)| *bound == Some(0)) {
            return Err(Wrong::new(name, "more than 0 is wanted"));
        }
        let shares = [("queue_share", self.queue_share), ("stored_share", self.stored_share)];
        let none = |share: f32| !(share > 0.0 && share <= 1.0);
        if let Some((name, _)) = shares.iter().find(|(_, share)| share.is_some_and(none)) {
            return Err(Wrong::new(name, "more than 0 and at most 1 is wanted"));
        }
        Ok(())
    }

    fn into_key(self) -> Result<Key, Wrong> {
        if !is_name(&self.id) {
            let wanted = format!("1 to {MAX_ID} letters, digits, '-', '_' and '.' are wanted");
            return Err(Wrong::new("id", &wanted));
        }
        let digest = digest_of_hex(&self.sha256).ok_or_else(|| {
            Wrong::new("sha256", "the SHA-256 of the key is wanted, as 64 hexadecimal digits")
        })?;
        self.check_limits()?;
        let wanted = "a date is wanted, or a time with its offset, such as 2026-12-31T12:00:00Z";
        let moment = |said| moment(said).ok_or_else(|| Wrong::new("expires", wanted));
        let expires = self.expires.as_ref().map(moment).transpose()?;
        Ok(Key {
            id: self.id,
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
            (entry("tokens_per_minute = 0\n"), 4, "keys.tokens_per_minute"),
            (entry("admin = true\nqueue_share = 1.5\n"), 5, "keys.queue_share"),
            (entry("stored_share = 0.0\n"), 4, "keys.stored_share"),
            (entry("expires = 2026-12-31T12:00:00\n"), 4, "keys.expires"),
            (entry("expires = \"tomorrow\"\n"), 4, "keys.expires"),
            (entry("priority = \"first\"\n"), 4, "keys.priority"),
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
    fn a_form_that_does_not_exist_is_told_by_its_line() {
        let digest = "0".repeat(64);
        let text = ["auto", "off", "mmhal", "mmhall"]
            .map(|forms| format!("[[keys]]\nid = \"{forms}\"\nsha256 = \"{digest}\"\nforms = \"{forms}\"\n"));
        let problems = unknown_forms(&text.concat(), |name| name == "mmhal");
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        let told = problem.to_string();
        assert!(problem.line == 16 && told.starts_with("keys.forms of \"mmhall\": "), "{problem:?}");
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
            (7, "keys.admin of \"b\": invalid type"),
            (13, "keys.sha256 of entry 4: invalid type"),
        ]) {
            assert!(*line == wanted && told.starts_with(words), "{line}: {told}");
        }
        assert_eq!(told.len(), 3, "{told:?}");
        let problems = read_keys("keys = 5\n").unwrap_err();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.line == 1 && problem.to_string().contains("[[keys]]"), "{problem}");
    }
}
