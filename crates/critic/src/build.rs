//! The properties of a loaded critic that its verdicts depend on.

use std::sync::{Arc, OnceLock};

/// The properties of a critic, besides the request, that its verdicts depend on. The default is a critic without a
/// checkpoint.
#[derive(Debug, Clone)]
pub struct Build {
    /// The digest of its weights.
    pub weights: LateDigest,
    /// The number type that it computes in, such as `f32`.
    pub precision: &'static str,
    /// How its weights are kept in memory, such as `stored` or `q8`.
    pub form: &'static str,
    /// Number of ranks that the decoder is split over. It determines the order of sums, so verdicts may differ with
    /// it.
    pub ranks: usize,
    /// Whether equal requests get the same numbers to the last bit, whatever else runs.
    pub exact: bool,
    /// Whether it has a reward head.
    pub rates: bool,
}

impl Default for Build {
    fn default() -> Self {
        Self { weights: LateDigest::default(), precision: "", form: "", ranks: 1, exact: false, rates: false }
    }
}

/// A SHA-256 that is computed in the background, since hashing the weights of a large critic takes many seconds.
/// Clones share one value. The default, for critics without a digest, is all zeros.
#[derive(Debug, Clone)]
pub struct LateDigest(Arc<OnceLock<[u8; 32]>>);

impl Default for LateDigest {
    fn default() -> Self {
        Self(Arc::new(OnceLock::from([0; 32])))
    }
}

impl LateDigest {
    /// A digest without a value until [`set`](Self::set) is called.
    pub fn pending() -> Self {
        Self(Arc::default())
    }

    /// Sets the value; later calls change nothing.
    pub fn set(&self, digest: [u8; 32]) {
        // An error means that a value is set already, which stays.
        let _ = self.0.set(digest);
    }

    /// The value; `None` while it is pending.
    pub fn get(&self) -> Option<[u8; 32]> {
        self.0.get().copied()
    }

    /// Blocks this thread until the value is known.
    pub fn wait(&self) -> [u8; 32] {
        *self.0.wait()
    }
}
