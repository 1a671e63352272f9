//! How extensively a benchmark measures.

/// How extensively it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Sizes and repetitions that give meaningful figures.
    Full,
    /// Small sizes, each once: a check that everything works.
    Quick,
}

impl Extent {
    /// The value for this extent.
    pub(crate) fn choose<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}
