//! A key as a file has it: its name, the digest of it, and what it may do.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::hexadecimal::hexadecimal;

/// The SHA-256 of a key.
pub(crate) type KeyDigest = [u8; 32];

/// Random bytes of a key: 256 bits, which nobody guesses, so that a plain digest of it can be kept.
const KEY_BYTES: usize = 32;
/// What keys of this server begin with, so that a key that was left somewhere is known for one.
pub(super) const PREFIX: &str = "gavel-";

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

#[cfg(test)]
mod tests {
    use super::{super::key_file::read_keys, *};

    #[test]
    fn a_new_key_is_long_and_its_entry_can_be_read() {
        let ((key, digest), (other, _)) = (new_key(), new_key());
        assert_ne!(key, other);
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(key.strip_prefix(PREFIX).unwrap()).unwrap().len(), 32);
        let keys = read_keys(&format!("[[keys]]\nid = \"a\"\nsha256 = \"{digest}\"\n")).unwrap();
        assert_eq!(keys[0].digest, digest_of(key.as_bytes()));
    }
}
