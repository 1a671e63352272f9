//! Rotary position embeddings, half-split: number `i` of a head is rotated together with number `i + D / 2`.

use rayon::prelude::*;

use crate::{
    isa::{Isa, Kernel, Simd},
    lanes::{Lanewise, each},
};

/// Numbers of one unit of work, or one row if it is longer.
const PIECE: usize = 8192;

/// The rotation of each row of a step.
#[derive(Debug, Clone, Copy)]
pub struct Rotation<'a> {
    /// Cosines, `[rows, D / 2]`.
    pub cos: &'a [f32],
    /// Sines, `[rows, D / 2]`.
    pub sin: &'a [f32],
    /// The size of a head, an even number.
    pub head_size: usize,
}

impl Rotation<'_> {
    /// Rotates the first `heads` heads of each row of `rows`; a row has `size` numbers.
    ///
    /// # Panics
    /// If `head_size` is odd, the heads exceed a row, the rows are not whole, or `cos` and `sin` do not match their
    /// number.
    pub fn run(&self, isa: Isa, rows: &mut [f32], (size, heads): (usize, usize)) {
        let half = self.head_size / 2;
        assert!(
            self.head_size.is_multiple_of(2) && heads * self.head_size <= size,
            "{heads} heads in {size}"
        );
        assert_eq!([self.cos.len(), self.sin.len()], [rows.len() / size.max(1) * half; 2], "the rotations");
        if half == 0 || rows.is_empty() {
            return;
        }
        assert!(rows.len().is_multiple_of(size), "whole rows");
        let together = (PIECE / size).max(1);
        let piece = |(index, rows): (usize, &mut [f32])| {
            let first = index * together * half;
            let (cos, sin) = (&self.cos[first..], &self.sin[first..]);
            let rotation = Rotation { cos, sin, head_size: self.head_size };
            isa.vectorize(Piece { rotation, rows, size, heads });
        };
        if rows.len() <= together * size {
            piece((0, rows));
        } else {
            rows.par_chunks_mut(together * size).enumerate().for_each(piece);
        }
    }
}

struct Piece<'a> {
    rotation: Rotation<'a>,
    rows: &'a mut [f32],
    size: usize,
    heads: usize,
}

impl Kernel for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { rotation: Rotation { cos, sin, head_size }, rows, size, heads } = self;
        let half = head_size / 2;
        let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
        for (row, (cos, sin)) in rows.chunks_exact_mut(size).zip(angles) {
            for head in row[..heads * head_size].chunks_exact_mut(head_size) {
                let (lower, upper) = head.split_at_mut(half);
                each(simd, Turn, [cos, sin], [lower, upper]);
            }
        }
    }
}

/// Rotates two numbers by an angle.
#[derive(Clone, Copy)]
struct Turn;

impl Lanewise<2, 2> for Turn {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, [cos, sin]: [S::Vector; 2], [x, y]: [S::Vector; 2]) -> [S::Vector; 2] {
        [simd.sub(simd.mul(x, cos), simd.mul(y, sin)), simd.fma(x, sin, simd.mul(y, cos))]
    }
}
