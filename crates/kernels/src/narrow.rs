//! Weights in 16-bit floats, which are widened to f32 where they are multiplied.
//!
//! Widening is exact, so the products are those of f32 weights, bit for bit. Many rows share a part of a panel that
//! was widened into cache memory. For few rows the weights are widened in registers, and for very few rows in two
//! panels together, since one alone would wait for the latency of its own sums.

use crate::{
    isa::{Kernel, LANES, Simd},
    micro::{PANEL, by_rows},
};

/// The prefetch distance in steps: 4 KiB.
const AHEAD: usize = 64;

/// A type of 16-bit floats, given as bits. Panels are passed as slices that may extend beyond their last step.
pub(crate) trait Narrow: Copy + Send + Sync {
    /// Converts the numbers to f32.
    fn widen<S: Simd>(self, simd: S, bits: &[u16; LANES]) -> S::Vector;
}

/// bfloat16, with 8 exponent bits.
#[derive(Clone, Copy)]
pub(crate) struct Bf16;

/// IEEE half precision, with 5 exponent bits.
#[derive(Clone, Copy)]
pub(crate) struct F16;

impl Narrow for Bf16 {
    #[inline(always)]
    fn widen<S: Simd>(self, simd: S, bits: &[u16; LANES]) -> S::Vector {
        simd.widen_bf16(bits)
    }
}

impl Narrow for F16 {
    #[inline(always)]
    fn widen<S: Simd>(self, simd: S, bits: &[u16; LANES]) -> S::Vector {
        simd.widen_f16(bits)
    }
}

/// Writes the weights of the first steps of a panel to `tile` as f32.
pub(crate) struct Widen<'a, N> {
    pub(crate) panel: &'a [[u16; PANEL]],
    pub(crate) kind: N,
    pub(crate) tile: &'a mut [[f32; PANEL]],
}

impl<N: Narrow> Kernel for Widen<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (index, (tile, step)) in self.tile.iter_mut().zip(self.panel).enumerate() {
            if let Some(later) = self.panel.get(index + AHEAD) {
                simd.prefetch(later);
            }
            for (floats, bits) in tile.as_chunks_mut().0.iter_mut().zip(step.as_chunks().0) {
                simd.store(self.kind.widen(simd, bits), floats);
            }
        }
    }
}

/// Adds to `sums[panel][row][column]` the products of `x[k][row]` and the weights of step `k`, `k` ascending.
struct FewRows<'a, N, const ROWS: usize, const PANELS: usize> {
    panels: [&'a [[u16; PANEL]]; PANELS],
    kind: N,
    x: &'a [[f32; ROWS]],
    sums: &'a mut [[[f32; PANEL]; ROWS]; PANELS],
}

impl<N: Narrow, const ROWS: usize, const PANELS: usize> Kernel for FewRows<'_, N, ROWS, PANELS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut sums = [[[simd.splat(0.0); 2]; PANELS]; ROWS];
        for (panel, floats) in self.sums.iter().enumerate() {
            for (sums, floats) in sums.iter_mut().zip(floats) {
                for (sum, floats) in sums[panel].iter_mut().zip(floats.as_chunks().0) {
                    *sum = simd.load(floats);
                }
            }
        }
        for (k, x) in self.x.iter().enumerate() {
            let mut weights = [[simd.splat(0.0); 2]; PANELS];
            for (weights, panel) in weights.iter_mut().zip(self.panels) {
                if let Some(later) = panel.get(k + AHEAD) {
                    simd.prefetch(later);
                }
                for (weights, bits) in weights.iter_mut().zip(panel[k].as_chunks().0) {
                    *weights = self.kind.widen(simd, bits);
                }
            }
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = simd.splat(*x);
                for (sums, weights) in sums.iter_mut().zip(weights) {
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = simd.fma(weights, x, *sum);
                    }
                }
            }
        }
        for (panel, floats) in self.sums.iter_mut().enumerate() {
            for (sums, floats) in sums.iter().zip(floats) {
                for (sum, floats) in sums[panel].iter().zip(floats.as_chunks_mut().0) {
                    simd.store(*sum, floats);
                }
            }
        }
    }
}

/// Adds to `sums` `[panels][rows][PANEL]` the products of `x` `[k][rows]` and the first `k` steps of the panels.
pub(crate) fn multiply_few<'a, S: Simd, N: Narrow>(
    (simd, kind): (S, N),
    panel: impl Fn(usize) -> &'a [[u16; PANEL]],
    (rows, x): (usize, &[f32]),
    sums: &mut [[f32; PANEL]],
) {
    macro_rules! call {
        ($rows:literal) => {
            few::<S, N, $rows>((simd, kind), panel, x, sums)
        };
    }
    by_rows!(rows, call)
}

fn few<'a, S: Simd, N: Narrow, const ROWS: usize>(
    (simd, kind): (S, N),
    panel: impl Fn(usize) -> &'a [[u16; PANEL]],
    x: &[f32],
    sums: &mut [[f32; PANEL]],
) {
    let x = x.as_chunks().0;
    let sums = sums.as_chunks_mut::<ROWS>().0;
    // Each row needs two vectors of sums per panel.
    let (pairs, rest) = if 4 * ROWS <= S::SUMS { sums.as_chunks_mut() } else { (&mut [][..], sums) };
    let paired = 2 * pairs.len();
    for (index, sums) in pairs.iter_mut().enumerate() {
        simd.vectorize(FewRows { panels: [panel(2 * index), panel(2 * index + 1)], kind, x, sums });
    }
    for (index, sums) in rest.iter_mut().enumerate() {
        let sums = std::array::from_mut(sums);
        simd.vectorize(FewRows { panels: [panel(paired + index)], kind, x, sums });
    }
}
