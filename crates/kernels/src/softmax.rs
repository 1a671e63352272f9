//! One step of an online softmax, which receives its scores block by block.

use crate::{
    exp::exp,
    isa::{Kernel, LANES, Simd},
    lanes::sum_of,
    micro::{MOST_ROWS, PANEL},
};

/// The softmax state of the rows of a group.
pub(crate) struct State {
    /// The largest score of each row so far.
    largest: [f32; MOST_ROWS],
    /// The sum of the exponentials of each row, still one partial sum per lane.
    totals: [[f32; LANES]; MOST_ROWS],
}

/// Turns the scores of some rows of a group into weights.
struct Step<'a> {
    state: &'a mut State,
    first: usize,
    scores: &'a mut [[f32; PANEL]],
    /// The factor for the sums of each row: below 1 if a larger score has been seen, else 1.
    corrections: &'a mut [f32],
}

impl State {
    /// Creates the state of rows that have seen no scores.
    pub(crate) fn new() -> Self {
        Self { largest: [f32::NEG_INFINITY; MOST_ROWS], totals: [[0.0; LANES]; MOST_ROWS] }
    }

    /// Turns the scores of the rows from `first` on into weights, relative to the largest score so far, and returns
    /// the factors by which the sums of these rows must be multiplied.
    pub(crate) fn step<S: Simd>(
        &mut self,
        simd: S,
        first: usize,
        scores: &mut [[f32; PANEL]],
    ) -> [f32; MOST_ROWS] {
        let mut corrections = [1.0; MOST_ROWS];
        simd.vectorize(Step { state: self, first, scores, corrections: &mut corrections });
        corrections
    }

    /// Copies the state of row `from` of `other` to row `to`.
    pub(crate) fn take(&mut self, to: usize, other: &Self, from: usize) {
        self.largest[to] = other.largest[from];
        self.totals[to] = other.totals[from];
    }

    /// Returns the sum of all weights of `row`.
    pub(crate) fn total(&self, row: usize) -> f32 {
        sum_of(self.totals[row])
    }
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { state, first, scores, corrections } = self;
        let rows = state.largest[first..].iter_mut().zip(&mut state.totals[first..]);
        for ((scores, correction), (largest, total)) in scores.iter_mut().zip(corrections).zip(rows) {
            let [lower, upper] = scores.as_chunks_mut().0 else { continue };
            let (a, b) = (simd.load(lower), simd.load(upper));
            let top = simd.largest(simd.max(a, b));
            let mut sum = simd.load(total);
            if top > *largest {
                let factor = exp(simd, simd.splat(*largest - top));
                let mut lanes = [0.0; LANES];
                simd.store(factor, &mut lanes);
                *correction = lanes[0];
                sum = simd.mul(sum, factor);
                *largest = top;
            }
            let top = simd.splat(*largest);
            let (a, b) = (exp(simd, simd.sub(a, top)), exp(simd, simd.sub(b, top)));
            simd.store(a, lower);
            simd.store(b, upper);
            simd.store(simd.add(sum, simd.add(a, b)), total);
        }
    }
}
