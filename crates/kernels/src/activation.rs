//! Elementwise activation functions, with the same bits in every instruction set.

use rayon::prelude::*;

use crate::{
    exp::exp,
    isa::{Isa, Kernel, Simd},
    lanes::{Lanewise, each},
};

/// Numbers of one unit of work.
const PIECE: usize = 8192;

/// sqrt(2 / pi) and the coefficient of x^3 in the tanh approximation of GELU (Hendrycks and Gimpel, 2016).
const GELU: [f32; 2] = [0.797_884_6, 0.044_715];

/// The tail of the normal distribution beyond `a >= 0` is `exp(-a^2 / 2) t P(t)` with `t = 1 / (1 + SLOPE a)`. `TAIL`
/// has the coefficients of `P` from the highest power, fitted up to `a = 14` with an error below 1e-9.
const SLOPE: f32 = 0.25;
const TAIL: [f32; 9] = [
    0.034_658_205,
    -0.197_886_48,
    0.393_101_1,
    -0.321_686_74,
    0.285_671_92,
    -0.004_631_296_3,
    0.113_858_18,
    0.097_025_69,
    0.099_889_42,
];

/// An activation function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x * sigmoid(x).
    Silu,
    /// x times the cumulative normal distribution at x.
    Gelu,
    /// GELU by the tanh approximation, which is x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)).
    GeluTanh,
}

impl Activation {
    /// Replaces each number of `x` by its activation.
    pub fn run(self, isa: Isa, x: &mut [f32]) {
        let piece = |x| isa.vectorize(Piece { activation: self, x });
        if x.len() <= PIECE {
            piece(x);
        } else {
            x.par_chunks_mut(PIECE).for_each(piece);
        }
    }

    /// Writes to each row of `y` `[rows, size]` the activation of the first half of the row of `x`
    /// `[rows, 2 * size]`, times the second half.
    ///
    /// # Panics
    /// If `x` is not twice as long as `y`, or the rows are not whole.
    pub fn gate(self, isa: Isa, x: &[f32], size: usize, y: &mut [f32]) {
        assert_eq!(x.len(), 2 * y.len(), "the lengths of what goes in and comes out");
        if y.is_empty() {
            return;
        }
        assert!(y.len().is_multiple_of(size), "whole rows");
        let together = (PIECE / size).max(1) * size;
        let piece = |(x, y)| isa.vectorize(Gate { activation: self, x, size, y });
        if y.len() <= together {
            piece((x, y));
        } else {
            x.par_chunks(2 * together).zip(y.par_chunks_mut(together)).for_each(piece);
        }
    }
}

/// The activation in place.
impl Lanewise<0, 1> for Activation {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, []: [S::Vector; 0], [x]: [S::Vector; 1]) -> [S::Vector; 1] {
        [match self {
            Self::Silu => times_sigmoid(simd, x, x),
            Self::Gelu => simd.mul(x, normal(simd, x)),
            Self::GeluTanh => {
                let cube = simd.mul(simd.mul(simd.mul(x, x), x), simd.splat(GELU[1]));
                times_sigmoid(simd, x, simd.mul(simd.add(x, cube), simd.splat(2.0 * GELU[0])))
            }
        }]
    }
}

/// The activation of the first input, times the second.
impl Lanewise<2, 1> for Activation {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, [x, factor]: [S::Vector; 2], _: [S::Vector; 1]) -> [S::Vector; 1] {
        let [activated] = self.of(simd, [], [x]);
        [simd.mul(activated, factor)]
    }
}

struct Piece<'a> {
    activation: Activation,
    x: &'a mut [f32],
}

struct Gate<'a> {
    activation: Activation,
    x: &'a [f32],
    size: usize,
    y: &'a mut [f32],
}

/// x * sigmoid(y). The exponential is taken of -|y|, so that it does not overflow.
#[inline(always)]
fn times_sigmoid<S: Simd>(simd: S, x: S::Vector, y: S::Vector) -> S::Vector {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    let negative = simd.sub(zero, y);
    let power = exp(simd, simd.sub(zero, simd.max(y, negative)));
    // The sum is 1 where y is not negative, else the power; one of its terms is 0.
    let upper = simd.zero_below(y, 0.0, one);
    let lower = simd.zero_below(negative, f32::MIN_POSITIVE, power);
    simd.div(simd.mul(x, simd.add(upper, lower)), simd.add(one, power))
}

/// Returns the cumulative normal distribution at x.
#[inline(always)]
fn normal<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    let magnitude = simd.max(x, simd.sub(zero, x));
    let t = simd.div(one, simd.fma(magnitude, simd.splat(SLOPE), one));
    let mut sum = simd.splat(TAIL[0]);
    for coefficient in &TAIL[1..] {
        sum = simd.fma(sum, t, simd.splat(*coefficient));
    }
    let power = exp(simd, simd.mul(simd.mul(magnitude, magnitude), simd.splat(-0.5)));
    let tail = simd.mul(simd.mul(sum, t), power);
    // The tail where x is negative, else 1 minus the tail.
    simd.add(simd.zero_below(x, 0.0, simd.fma(tail, simd.splat(-2.0), one)), tail)
}

impl Kernel for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        each(simd, self.activation, [], [self.x]);
    }
}

impl Kernel for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { activation, x, size, y } = self;
        for (x, y) in x.chunks_exact(2 * size).zip(y.chunks_exact_mut(size)) {
            let (gates, factors) = x.split_at(size);
            each(simd, activation, [gates, factors], [y]);
        }
    }
}
