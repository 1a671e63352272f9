//! A key as configured in a file: its name, its digest, and its permissions and quotas.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::hexadecimal::hexadecimal;

/// The SHA-256 of a key.
pub(crate) type KeyDigest = [u8; 32];

/// Random bytes in a key: 256 bits cannot be guessed, so a plain digest of the key is safe to store.
const KEY_BYTES: usize = 32;
/// Prefix of the keys of this server, by which a leaked key is recognised.
pub(super) const PREFIX: &str = "gavel-";

/// The configuration of a key. `None` means no limit for the quotas, and the default for the shares.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    /// Its name, which is not secret: metrics show it.
    pub(crate) id: String,
    pub(crate) digest: KeyDigest,
    pub(crate) requests_per_minute: Option<u64>,
    pub(crate) tokens_per_minute: Option<u64>,
    pub(crate) images_per_minute: Option<u64>,
    pub(crate) concurrent_requests: Option<u64>,
    /// Its share of the queue; 1 is all of it.
    pub(crate) queue_share: Option<f32>,
    /// Its share of the disk space for stored files; 1 is all of it.
    pub(crate) stored_share: Option<f32>,
    pub(crate) priority: Priority,
    /// The form of its chat answers where the request chooses none.
    pub(crate) forms: Option<FormsOfKey>,
    /// From this time on the key is invalid; `None` means that it never expires.
    pub(crate) expires: Option<SystemTime>,
    /// Whether it may use the admin listener: read metrics, reload files, and stop the server.
    pub(crate) admin: bool,
}

/// The scheduling weight of a key relative to other keys while requests of both wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    /// A quarter of the usual weight, for work that no user waits for.
    Low,
    /// The usual weight.
    #[default]
    Normal,
    /// Four times the usual weight.
    High,
}

impl Priority {
    /// Tokens that it gets for each token of a key of weight 1.
    pub(crate) fn weight(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::Normal => 4,
            Self::High => 16,
        }
    }
}

/// How the form of a key's chat answers is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FormsOfKey {
    /// By the prompt: the form of the evaluation program that it is recognised as.
    Auto,
    /// No form.
    Off,
    /// Always the form of this name.
    Named(String),
}

/// The digest of a key by which it is stored and compared.
pub(crate) fn digest_of(key: &[u8]) -> KeyDigest {
    Sha256::digest(key).into()
}

/// Returns a new random key, and its digest in hexadecimal digits.
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
