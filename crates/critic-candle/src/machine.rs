//! What the machine can do at most, so that what the models do has something to stand beside.

use kernels::{Isa, limits};

/// Floats that no cache holds: half a gigabyte.
const FLOATS: usize = 128 << 20;

/// Measures, with all threads, the bytes that are read from memory and the operations on 32-bit floats that are done each
/// second, both in 10^9. Takes about a second.
pub fn machine_limits() -> (f64, f64) {
    let isa = Isa::best();
    let memory = vec![1.0; FLOATS];
    (limits::reading(isa, &memory), limits::arithmetic(isa))
}
