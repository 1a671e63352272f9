//! Layer and RMS normalisation of rows. A sum over a row has 16 partial sums, which are added up at its end, in every
//! instruction set; a mean square sums the last `size % 16` numbers separately.

use rayon::prelude::*;

use crate::{
    isa::{Isa, Kernel, LANES, Simd},
    lanes::{self, Lanewise, each, load_some},
};

/// Numbers of one unit of work, or one row if it is longer.
const PIECE: usize = 8192;

/// The parameters of a normalisation of rows of `size` numbers.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// The weight, `[size]`.
    pub weight: &'a [f32],
    /// The bias, `[size]`. With it, the mean is subtracted first (layer normalisation); without it, rows are only
    /// divided by their root mean square (RMS normalisation).
    pub bias: Option<&'a [f32]>,
    /// The number that is added to the mean square.
    pub epsilon: f32,
}

impl Norm<'_> {
    /// Normalises the rows of `x` `[rows, size]` to `y` of the same shape: `(x - mean) / sqrt(variance + epsilon) *
    /// weight + bias`, or without a bias `x / sqrt(mean of squares + epsilon) * weight`.
    ///
    /// # Panics
    /// If the lengths of `x` and `y` or of the weight and the bias differ, or the rows are not whole.
    pub fn run(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        let size = self.weight.len();
        assert_eq!(x.len(), y.len(), "the lengths of what goes in and comes out");
        assert!(self.bias.is_none_or(|bias| bias.len() == size), "the length of the bias");
        if x.is_empty() {
            return;
        }
        assert!(x.len().is_multiple_of(size), "whole rows");
        let rows = (PIECE / size).max(1) * size;
        let piece = |(x, y)| isa.vectorize(Piece { norm: *self, x, y });
        if x.len() <= rows {
            piece((x, y));
        } else {
            x.par_chunks(rows).zip(y.par_chunks_mut(rows)).for_each(piece);
        }
    }
}

struct Piece<'a> {
    norm: Norm<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
}

/// Returns the mean of the squares of `row - mean`.
#[inline(always)]
fn mean_square<S: Simd>(simd: S, row: &[f32], mean: f32) -> f32 {
    let (whole, rest) = row.as_chunks::<LANES>();
    let mut sums = simd.splat(0.0);
    for floats in whole {
        let centred = simd.sub(simd.load(floats), simd.splat(mean));
        sums = simd.fma(centred, centred, sums);
    }
    let rest: f32 = rest.iter().map(|float| (float - mean) * (float - mean)).sum();
    (lanes::sum(simd, sums) + rest) / row.len() as f32
}

#[inline(always)]
fn mean<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let (whole, rest) = row.as_chunks::<LANES>();
    let mut sums = simd.splat(0.0);
    for floats in whole {
        sums = simd.add(sums, simd.load(floats));
    }
    if !rest.is_empty() {
        sums = simd.add(sums, load_some(simd, rest));
    }
    lanes::sum(simd, sums) / row.len() as f32
}

impl Kernel for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Norm { weight, bias, epsilon } = self.norm;
        for (x, y) in self.x.chunks_exact(weight.len()).zip(self.y.chunks_exact_mut(weight.len())) {
            // The mean is subtracted first: the mean of squares minus the squared mean loses digits in f32.
            let mean = if bias.is_some() { mean(simd, x) } else { 0.0 };
            let centred = Centred { mean, scale: 1.0 / (mean_square(simd, x, mean) + epsilon).sqrt() };
            match bias {
                Some(bias) => each(simd, centred, [x, weight, bias], [y]),
                None => each(simd, centred, [x, weight], [y]),
            }
        }
    }
}

/// Normalises the numbers of a row whose mean and scale are known.
#[derive(Clone, Copy)]
struct Centred {
    mean: f32,
    scale: f32,
}

impl Centred {
    #[inline(always)]
    fn scaled<S: Simd>(self, simd: S, x: S::Vector) -> S::Vector {
        simd.mul(simd.sub(x, simd.splat(self.mean)), simd.splat(self.scale))
    }
}

/// RMS normalisation of a number, with its weight.
impl Lanewise<2, 1> for Centred {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, [x, weight]: [S::Vector; 2], _: [S::Vector; 1]) -> [S::Vector; 1] {
        [simd.mul(self.scaled(simd, x), weight)]
    }
}

/// Layer normalisation of a number, with its weight and its bias.
impl Lanewise<3, 1> for Centred {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, [x, weight, bias]: [S::Vector; 3], _: [S::Vector; 1]) -> [S::Vector; 1] {
        [simd.fma(self.scaled(simd, x), weight, bias)]
    }
}
