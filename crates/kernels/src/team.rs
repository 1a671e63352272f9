//! A step as work of the threads that its loops run on.

/// Runs `step` on one of the threads that share the loops in it. A loop begun from any other thread first wakes them,
/// and that other thread sleeps until it is woken itself, which takes as long as a small loop does. Between two loops of
/// one of their own they look for work for longer than the step needs to get from one to the next.
pub fn together<R: Send>(step: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| step())
}
