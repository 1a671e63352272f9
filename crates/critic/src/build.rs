//! What a loaded critic is made of, as far as its verdicts depend on it.

use std::sync::{Arc, OnceLock};

/// What a critic's verdicts depend on beside what it is asked. The default is a critic of no checkpoint.
#[derive(Debug, Clone)]
pub struct Build {
    /// The digest of its weights.
    pub weights: LateDigest,
    /// The number type that it computes in, such as `f32`.
    pub precision: &'static str,
    /// How its weights are kept in memory, such as `stored` or `q8`.
    pub form: &'static str,
    /// How many ranks it is split over, whose numbers are added up: by other orders of sums, verdicts may differ.
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

/// A SHA-256 that is worked out beside everything else, since the weights of a large critic take a while. Clones are
/// the same one. A digest that nobody works out is all zeros.
#[derive(Debug, Clone)]
pub struct LateDigest(Arc<OnceLock<[u8; 32]>>);

impl Default for LateDigest {
    fn default() -> Self {
        Self(Arc::new(OnceLock::from([0; 32])))
    }
}

impl LateDigest {
    /// One that [`set`](Self::set) gives its value.
    pub fn pending() -> Self {
        Self(Arc::default())
    }

    /// Gives it its value; only the first one counts.
    pub fn set(&self, digest: [u8; 32]) {
        // A second value of the same thing is the same one.
        let _ = self.0.set(digest);
    }

    /// The value, when it is known.
    pub fn get(&self) -> Option<[u8; 32]> {
        self.0.get().copied()
    }

    /// Blocks this thread until the value is known.
    pub fn wait(&self) -> [u8; 32] {
        *self.0.wait()
    }
}
