//! Elementwise functions, applied to a whole vector at a time, and the sum of a vector's lanes.

use crate::isa::{LANES, Simd};

/// An elementwise function of `FROM` inputs and of the previous values of its `TO` outputs.
pub(crate) trait Lanewise<const FROM: usize, const TO: usize>: Copy {
    /// Returns the outputs of each lane. Implementations must be `#[inline(always)]`, since the function itself is
    /// not compiled for an instruction set.
    fn of<S: Simd>(self, simd: S, from: [S::Vector; FROM], to: [S::Vector; TO]) -> [S::Vector; TO];
}

/// Applies `function` to each number of the slices in turn, as many as `to[0]` has.
///
/// Whole vectors have a loop of their own: if it handled the last few numbers as well, every vector would be copied
/// through memory as those are.
#[inline(always)]
pub(crate) fn each<S: Simd, const FROM: usize, const TO: usize>(
    simd: S,
    function: impl Lanewise<FROM, TO>,
    from: [&[f32]; FROM],
    mut to: [&mut [f32]; TO],
) {
    let whole = to[0].len() / LANES;
    let from_vectors = from.map(|floats| &floats.as_chunks::<LANES>().0[..whole]);
    let mut to_vectors = to.each_mut().map(|floats| &mut floats.as_chunks_mut::<LANES>().0[..whole]);
    // Loops, not closures, which are not compiled for the instruction set and may not be inlined.
    let (mut given, mut there) = ([simd.splat(0.0); FROM], [simd.splat(0.0); TO]);
    for index in 0..whole {
        for (given, vectors) in given.iter_mut().zip(&from_vectors) {
            *given = simd.load(&vectors[index]);
        }
        for (there, vectors) in there.iter_mut().zip(&to_vectors) {
            *there = simd.load(&vectors[index]);
        }
        let made = function.of(simd, given, there);
        for (made, vectors) in made.into_iter().zip(&mut to_vectors) {
            simd.store(made, &mut vectors[index]);
        }
    }
    let rest = whole * LANES..to[0].len();
    if !rest.is_empty() {
        for (given, floats) in given.iter_mut().zip(from) {
            *given = load_some(simd, &floats[rest.clone()]);
        }
        for (there, floats) in there.iter_mut().zip(&to) {
            *there = load_some(simd, &floats[rest.clone()]);
        }
        let made = function.of(simd, given, there);
        for (made, floats) in made.into_iter().zip(to) {
            store_some(simd, made, &mut floats[rest.clone()]);
        }
    }
}

/// Loads `floats`, fewer than a vector has lanes, into the first lanes; the others are 0.
#[inline(always)]
pub(crate) fn load_some<S: Simd>(simd: S, floats: &[f32]) -> S::Vector {
    let mut filled = [0.0; LANES];
    filled[..floats.len()].copy_from_slice(floats);
    simd.load(&filled)
}

/// Stores the first lanes, as many as `floats` has.
#[inline(always)]
fn store_some<S: Simd>(simd: S, vector: S::Vector, floats: &mut [f32]) {
    let mut all = [0.0; LANES];
    simd.store(vector, &mut all);
    floats.copy_from_slice(&all[..floats.len()]);
}

/// Returns the sum of all lanes, in the order of [`sum_of`].
#[inline(always)]
pub(crate) fn sum<S: Simd>(simd: S, vector: S::Vector) -> f32 {
    let mut lanes = [0.0; LANES];
    simd.store(vector, &mut lanes);
    sum_of(lanes)
}

/// Returns the sum of the lanes, adding the upper half to the lower half until one is left: the same order in every
/// instruction set.
#[inline(always)]
pub(crate) fn sum_of(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}
