//! A key as a file has it: its name, the digest of it, and what it may do.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::{Spanned, value::Datetime};

use super::expiry::moment;
use crate::hexadecimal::hexadecimal;

/// The SHA-256 of a key.
pub(crate) type KeyDigest = [u8; 32];

/// Random bytes of a key: 256 bits, which nobody guesses, so that a plain digest of it can be kept.
const KEY_BYTES: usize = 32;
/// What keys of this server begin with, so that a key that was left somewhere is known for one.
const PREFIX: &str = "gavel-";
/// The longest name.
const MAX_ID: usize = 64;

/// Someone who may ask.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    /// Its name, which is no secret: it stands in figures.
    pub(crate) id: String,
    pub(crate) digest: KeyDigest,
    pub(crate) requests_per_minute: Option<u64>,
    pub(crate) tokens_per_minute: Option<u64>,
    pub(crate) images_per_minute: Option<u64>,
    pub(crate) concurrent_requests: Option<u64>,
    /// The part of the waiting line that it may take.
    pub(crate) queue_share: Option<f32>,
    /// The part of what is kept on the disk that it may have.
    pub(crate) stored_share: Option<f32>,
    pub(crate) priority: Priority,
    /// Which form chat answers have when the request does not say.
    pub(crate) forms: Option<FormsOfKey>,
    /// From when on it is none.
    pub(crate) expires: Option<SystemTime>,
    /// Whether it may read the figures, read files again, and stop the server.
    pub(crate) admin: bool,
}

/// How much a key counts beside others while both wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    /// A quarter of what is usual: for work that nobody waits for.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Four times what is usual.
    High,
}

impl Priority {
    /// Tokens that it gets for each of a key of weight 1.
    pub(crate) fn weight(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::Normal => 4,
            Self::High => 16,
        }
    }
}

/// The form of a key's chat answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FormsOfKey {
    /// That of the program whose prompt it is.
    Auto,
    /// None.
    Off,
    /// Always this one.
    Named(String),
}

/// What is wrong with a file of keys, without anything that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyProblem {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A file's `[[keys]]`; what else it has is for others.
#[derive(Deserialize)]
struct KeysInFile {
    #[serde(default)]
    keys: Vec<Spanned<Entry>>,
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

/// The keys of a file.
///
/// # Errors
/// The first thing that is wrong with them.
pub(crate) fn read_keys(text: &str) -> Result<Vec<Key>, KeyProblem> {
    let problem = |start: usize, text_of: String| KeyProblem {
        line: text[..start.min(text.len())].matches('\n').count() + 1,
        text: text_of,
    };
    let file: KeysInFile = toml::from_str(text).map_err(|error| {
        // Only what the parser says, never the line that it says it of.
        problem(error.span().map_or(0, |span| span.start), error.message().to_owned())
    })?;
    let mut keys: Vec<Key> = Vec::new();
    for entry in file.keys {
        let start = entry.span().start;
        let entry = entry.into_inner();
        let (id_start, digest_start) = (entry.id.span().start, entry.sha256.span().start);
        let key = entry.into_key().map_err(|Wrong { what, text }| {
            let start = match what {
                What::Id => id_start,
                What::Digest => digest_start,
                What::Bound => start,
            };
            problem(start, text)
        })?;
        if keys.iter().any(|other| other.id == key.id) {
            return Err(problem(id_start, format!("there are two keys with the id {:?}", key.id)));
        }
        if keys.iter().any(|other| other.digest == key.digest) {
            return Err(problem(digest_start, "another key has the same digest".into()));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// What is wrong with an entry.
struct Wrong {
    what: What,
    text: String,
}

/// A part of an entry.
enum What {
    Id,
    Digest,
    Bound,
}

impl Entry {
    fn into_key(self) -> Result<Key, Wrong> {
        let wrong = |what, text: String| Err(Wrong { what, text });
        let id = self.id.into_inner();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if id.is_empty() || id.len() > MAX_ID || !id.chars().all(plain) {
            let text = format!("keys.id: 1 to {MAX_ID} letters, digits, '-', '_' and '.' are wanted");
            return wrong(What::Id, text);
        }
        let Some(digest) = digest_of_hex(self.sha256.get_ref()) else {
            let text = "keys.sha256: the SHA-256 of the key is wanted, as 64 hexadecimal digits".into();
            return wrong(What::Digest, text);
        };
        let bounds = [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("images_per_minute", self.images_per_minute),
            ("concurrent_requests", self.concurrent_requests),
        ];
        if let Some((name, _)) = bounds.iter().find(|(_, bound)| *bound == Some(0)) {
            return wrong(What::Bound, format!("keys.{name}: more than 0 is wanted"));
        }
        let shares = [("queue_share", self.queue_share), ("stored_share", self.stored_share)];
        let none = |share: f32| !(share > 0.0 && share <= 1.0);
        if let Some((name, _)) = shares.iter().find(|(_, share)| share.is_some_and(none)) {
            return wrong(What::Bound, format!("keys.{name}: more than 0 and at most 1 is wanted"));
        }
        let expires = match &self.expires {
            None => None,
            Some(said) => match moment(said) {
                Some(moment) => Some(moment),
                None => {
                    let text = "keys.expires: a date is wanted, or a time with its offset, such as 2026-12-31T12:00:00Z";
                    return wrong(What::Bound, text.into());
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

/// The digest that is kept of a key.
pub(crate) fn digest_of(key: &[u8]) -> KeyDigest {
    Sha256::digest(key).into()
}

/// A new key, and its digest in hexadecimal digits.
pub(crate) fn new_key() -> (String, String) {
    let random: [u8; KEY_BYTES] = rand::random();
    let key = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
    let digest = hexadecimal(&digest_of(key.as_bytes()));
    (key, digest)
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
    fn a_new_key_is_long_and_its_entry_can_be_read() {
        let ((key, digest), (other, _)) = (new_key(), new_key());
        assert_ne!(key, other);
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(key.strip_prefix(PREFIX).unwrap()).unwrap().len(), 32);
        let keys = read_keys(&format!("[[keys]]\nid = \"a\"\nsha256 = \"{digest}\"\n")).unwrap();
        assert_eq!(keys[0].digest, digest_of(key.as_bytes()));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_without_the_value() {
        let digest = "0".repeat(64);
        let entry = |more: &str| format!("[[keys]]\nid = \"a\"\nsha256 = \"{digest}\"\n{more}");
        for (text, line, words) in [
            ("[[keys]]\nid = \"a b\"\nsha256 = \"\"\n".into(), 2, "keys.id"),
            ("[[keys]]\nid = \"a\"\nsha256 = \"gavel-secret\"\n".into(), 3, "keys.sha256"),
            ("[[keys]]\nid = \"a\"\n".into(), 1, "sha256"),
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
            let problem = read_keys(&text).unwrap_err();
            assert_eq!(problem.line, line, "{problem:?} in {text}");
            assert!(problem.text.contains(words) && !problem.text.contains("secret"), "{problem:?}");
        }
        assert_eq!(read_keys("[server]\nport = 1\n").unwrap(), []);
    }
}
