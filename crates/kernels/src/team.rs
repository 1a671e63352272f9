//! Runs a step on the threads that execute its parallel loops.

/// Runs `step` on one of the threads that execute the loops in it, and returns its result. A loop started from any
/// other thread first has to wake them, and the caller sleeps until it is woken itself, which takes as long as a
/// small loop. Between two loops started by one of their own, these threads look for work for longer than a step
/// takes from one loop to the next.
pub fn together<R: Send>(step: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| step())
}
