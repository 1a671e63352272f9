//! Activations, number by number, the same bits in every instruction set.

use rayon::prelude::*;

use crate::{
    exp::exp,
    isa::{Isa, Kernel, LANES, Simd},
};

/// Numbers of one piece of work.
const PIECE: usize = 8192;

/// sqrt(2 / pi) and the factor of the cube, of the approximation of GELU by tanh (Hendrycks and Gimpel, 2016).
const GELU: [f32; 2] = [0.797_884_6, 0.044_715];

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x * sigmoid(x).
    Silu,
    /// GELU by the tanh approximation, which is x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)).
    GeluTanh,
}

impl Activation {
    /// Writes the activation of each of `x` to `y`, times the number at the same place of `factors` where there are any.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn run(self, isa: Isa, x: &[f32], factors: Option<&[f32]>, y: &mut [f32]) {
        assert_eq!(x.len(), y.len(), "the lengths of what goes in and comes out");
        assert!(factors.is_none_or(|factors| factors.len() == x.len()), "the length of the factors");
        let piece = |(index, y): (usize, &mut [f32])| {
            let own = index * PIECE..index * PIECE + y.len();
            let (x, factors) = (&x[own.clone()], factors.map(|factors| &factors[own]));
            isa.run(Vectorized(Piece { activation: self, x, factors, y }));
        };
        if x.len() <= PIECE {
            piece((0, y));
        } else {
            y.par_chunks_mut(PIECE).enumerate().for_each(piece);
        }
    }
}

struct Piece<'a> {
    activation: Activation,
    x: &'a [f32],
    factors: Option<&'a [f32]>,
    y: &'a mut [f32],
}

/// Runs a kernel as code of a set.
pub(crate) struct Vectorized<K>(pub(crate) K);

impl<K: Kernel> Kernel for Vectorized<K> {
    type Output = K::Output;

    fn run<S: Simd>(self, simd: S) -> K::Output {
        simd.vectorize(self.0)
    }
}

/// The first lanes are `floats`, the others 0.
#[inline(always)]
pub(crate) fn load_some<S: Simd>(simd: S, floats: &[f32]) -> S::Vector {
    match floats.first_chunk() {
        Some(floats) => simd.load(floats),
        None => {
            let mut filled = [0.0; LANES];
            filled[..floats.len()].copy_from_slice(floats);
            simd.load(&filled)
        }
    }
}

/// Stores the first lanes, as many as `floats` has.
#[inline(always)]
pub(crate) fn store_some<S: Simd>(simd: S, vector: S::Vector, floats: &mut [f32]) {
    match floats.first_chunk_mut() {
        Some(floats) => simd.store(vector, floats),
        None => {
            let mut all = [0.0; LANES];
            simd.store(vector, &mut all);
            floats.copy_from_slice(&all[..floats.len()]);
        }
    }
}

/// x * sigmoid(y). The exponential is of -|y|, so that it does not overflow.
#[inline(always)]
fn times_sigmoid<S: Simd>(simd: S, x: S::Vector, y: S::Vector) -> S::Vector {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    let negative = simd.sub(zero, y);
    let power = exp(simd, simd.sub(zero, simd.max(y, negative)));
    // 1 where y is not negative, else the power; one of the two is 0.
    let upper = simd.zero_below(y, 0.0, one);
    let lower = simd.zero_below(negative, f32::MIN_POSITIVE, power);
    simd.div(simd.mul(x, simd.add(upper, lower)), simd.add(one, power))
}

impl Kernel for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { activation, x, factors, y } = self;
        for (index, (x, y)) in x.chunks(LANES).zip(y.chunks_mut(LANES)).enumerate() {
            let x = load_some(simd, x);
            let mut activated = match activation {
                Activation::Silu => times_sigmoid(simd, x, x),
                Activation::GeluTanh => {
                    let cube = simd.mul(simd.mul(simd.mul(x, x), x), simd.splat(GELU[1]));
                    times_sigmoid(simd, x, simd.mul(simd.add(x, cube), simd.splat(2.0 * GELU[0])))
                }
            };
            if let Some(factors) = factors {
                activated = simd.mul(activated, load_some(simd, &factors[index * LANES..]));
            }
            store_some(simd, activated, y);
        }
    }
}
