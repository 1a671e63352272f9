//! SHA-256 of anything that implements `Hash`.

use std::hash::Hasher;

use sha2::{Digest, Sha256};

/// A hasher that feeds SHA-256, so that clients cannot construct two values with one digest. Values of one type that
/// differ feed it different bytes. How a type does that depends on the build of the program: digests that another
/// program compares are made of bytes.
#[derive(Debug, Clone, Default)]
pub struct Sha256Hasher(Sha256);

impl Sha256Hasher {
    /// The digest of everything that was hashed.
    pub fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The first eight bytes of the digest.
    fn finish(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.clone().digest();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}
