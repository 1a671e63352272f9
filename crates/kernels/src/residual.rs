//! The residual addition: a layer's output is added to its input.

use rayon::prelude::*;

use crate::{
    isa::{Isa, Kernel, Simd},
    lanes::{Lanewise, each},
};

/// Numbers of one unit of work: adding fewer takes less time than waking another thread.
const PIECE: usize = 32_768;

/// Adds `y` to `x`, repeating `y` over the length of `x`.
///
/// # Panics
/// If the length of `x` is not a multiple of that of `y`.
pub fn add(isa: Isa, x: &mut [f32], y: &[f32]) {
    assert!(x.is_empty() || !y.is_empty() && x.len().is_multiple_of(y.len()), "{} and {}", x.len(), y.len());
    for x in x.chunks_mut(y.len().max(1)) {
        let piece = |(x, y)| isa.vectorize(Piece { x, y });
        if x.len() <= PIECE {
            piece((x, y));
        } else {
            x.par_chunks_mut(PIECE).zip(y.par_chunks(PIECE)).for_each(piece);
        }
    }
}

struct Piece<'a> {
    x: &'a mut [f32],
    y: &'a [f32],
}

impl Kernel for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        each(simd, Sum, [self.y], [self.x]);
    }
}

/// Adds two numbers.
#[derive(Clone, Copy)]
struct Sum;

impl Lanewise<1, 1> for Sum {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, [y]: [S::Vector; 1], [x]: [S::Vector; 1]) -> [S::Vector; 1] {
        [simd.add(x, y)]
    }
}
