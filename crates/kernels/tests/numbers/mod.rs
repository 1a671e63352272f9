//! Pseudo-random numbers for the tests, and their bits for comparison.

/// Returns `count` pseudo-random numbers between -1 and 1.
pub(crate) fn floats(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Returns the bits of `floats`, which two identical results have in common.
pub(crate) fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|float| float.to_bits()).collect()
}
