//! Floats of 16 bits, which become f32 where they are multiplied.
//!
//! Becoming f32 is exact, so that the products are those of f32 weights, bit for bit. Many rows share a piece of a panel
//! that was widened into a cache; for few rows the weights are widened in registers, for very few in two panels together:
//! one alone would wait for its own sums.

use crate::{
    isa::{Kernel, LANES, Simd},
    micro::PANEL,
};

/// Steps that are widened together.
pub(crate) const GROUP: usize = 8;

/// The most rows whose products are made while weights are widened.
pub(crate) const FEW_ROWS: usize = 8;

/// How many bytes ahead weights are asked for.
const AHEAD_BYTES: usize = 4096;

/// Bytes of a cache line.
const LINE: usize = 64;

/// The weights of a panel and whatever lies behind them.
pub(crate) trait Narrow: Copy + Send + Sync {
    // Loops and not `map`: a closure that is not inlined is compiled without the instruction set.
    /// The weights of steps `8 * group ..` in the columns of vector `vector`, 0 or 1.
    fn widen<S: Simd>(self, simd: S, group: usize, vector: usize) -> [S::Vector; GROUP];
    /// Asks for what comes some groups after `group`.
    fn prefetch<S: Simd>(self, simd: S, group: usize);
}

/// Bits of bf16.
#[derive(Clone, Copy)]
pub(crate) struct Bf16<'a>(pub(crate) &'a [[u16; PANEL]]);

/// Bits of f16.
#[derive(Clone, Copy)]
pub(crate) struct F16<'a>(pub(crate) &'a [[u16; PANEL]]);

/// Half of the columns of a step.
#[inline(always)]
fn half<T>(step: &[T; PANEL], vector: usize) -> &[T; LANES] {
    &step.as_chunks().0[vector]
}

/// The steps of a group.
#[inline(always)]
fn steps<T>(panel: &[[T; PANEL]], group: usize) -> &[[T; PANEL]; GROUP] {
    panel[group * GROUP..].first_chunk().expect("panels have whole groups")
}

/// Asks for what lies [`AHEAD_BYTES`] behind the steps `first .. first + count`.
#[inline(always)]
fn prefetch<S: Simd, T>(simd: S, panel: &[[T; PANEL]], first: usize, count: usize) {
    let size = size_of::<[T; PANEL]>();
    let first = first + AHEAD_BYTES / size;
    if let Some(ahead) = panel.get(first..first + count) {
        // Every size here divides a cache line or is a whole number of them.
        for step in ahead.iter().step_by(LINE.div_ceil(size)) {
            step.chunks(LINE / size_of::<T>()).for_each(|line| simd.prefetch(&line[0]));
        }
    }
}

impl Narrow for Bf16<'_> {
    #[inline(always)]
    fn widen<S: Simd>(self, simd: S, group: usize, vector: usize) -> [S::Vector; GROUP] {
        let mut weights = [simd.splat(0.0); GROUP];
        for (weights, step) in weights.iter_mut().zip(steps(self.0, group)) {
            *weights = simd.widen_bf16(half(step, vector));
        }
        weights
    }

    #[inline(always)]
    fn prefetch<S: Simd>(self, simd: S, group: usize) {
        prefetch(simd, self.0, group * GROUP, GROUP);
    }
}

impl Narrow for F16<'_> {
    #[inline(always)]
    fn widen<S: Simd>(self, simd: S, group: usize, vector: usize) -> [S::Vector; GROUP] {
        let mut weights = [simd.splat(0.0); GROUP];
        for (weights, step) in weights.iter_mut().zip(steps(self.0, group)) {
            *weights = simd.widen_f16(half(step, vector));
        }
        weights
    }

    #[inline(always)]
    fn prefetch<S: Simd>(self, simd: S, group: usize) {
        prefetch(simd, self.0, group * GROUP, GROUP);
    }
}

/// Writes the weights of steps `8 * first_group ..` to `tile`, which has whole groups.
pub(crate) struct Widen<'a, N> {
    pub(crate) panel: N,
    pub(crate) first_group: usize,
    pub(crate) tile: &'a mut [[f32; PANEL]],
}

impl<N: Narrow> Kernel for Widen<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (index, tile) in self.tile.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
            self.panel.prefetch(simd, self.first_group + index);
            for vector in 0..2 {
                let weights = self.panel.widen(simd, self.first_group + index, vector);
                for (weights, step) in weights.into_iter().zip(&mut *tile) {
                    simd.store(weights, &mut step.as_chunks_mut().0[vector]);
                }
            }
        }
    }
}

/// Adds to `sums[panel][row][column]` the products of `x[k][row]` and the weights of step `k`, `k` ascending.
struct FewRows<'a, N, const ROWS: usize, const PANELS: usize> {
    panels: [N; PANELS],
    x: &'a [[f32; ROWS]],
    sums: &'a mut [[[f32; PANEL]; ROWS]; PANELS],
}

impl<N: Narrow, const ROWS: usize, const PANELS: usize> FewRows<'_, N, ROWS, PANELS> {
    /// The products of the first steps of a group, as many as `x` has.
    #[inline(always)]
    fn group<S: Simd>(
        &self,
        simd: S,
        group: usize,
        x: &[[f32; ROWS]],
        sums: &mut [[[S::Vector; ROWS]; 2]; PANELS],
    ) {
        for (panel, sums) in self.panels.iter().zip(sums) {
            for (vector, sums) in sums.iter_mut().enumerate() {
                for (weights, x) in panel.widen(simd, group, vector).into_iter().zip(x) {
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = simd.fma(weights, simd.splat(*x), *sum);
                    }
                }
            }
        }
    }
}

impl<N: Narrow, const ROWS: usize, const PANELS: usize> Kernel for FewRows<'_, N, ROWS, PANELS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut sums = [[[simd.splat(0.0); ROWS]; 2]; PANELS];
        for (sums, floats) in sums.iter_mut().zip(&*self.sums) {
            for (vector, sums) in sums.iter_mut().enumerate() {
                for (sum, floats) in sums.iter_mut().zip(floats) {
                    *sum = simd.load(half(floats, vector));
                }
            }
        }
        let (groups, rest) = self.x.as_chunks::<GROUP>();
        for (group, x) in groups.iter().enumerate() {
            self.panels.iter().for_each(|panel| panel.prefetch(simd, group));
            self.group(simd, group, x, &mut sums);
        }
        if !rest.is_empty() {
            self.group(simd, groups.len(), rest, &mut sums);
        }
        for (sums, floats) in sums.iter().zip(self.sums) {
            for (vector, sums) in sums.iter().enumerate() {
                for (sum, floats) in sums.iter().zip(&mut *floats) {
                    simd.store(*sum, &mut floats.as_chunks_mut().0[vector]);
                }
            }
        }
    }
}

/// `sums` `[panels][rows][PANEL]` plus `x` `[k][rows]` times the first `k` steps of the panels, for at most
/// [`FEW_ROWS`] rows.
pub(crate) fn multiply_few<S: Simd, N: Narrow>(
    simd: S,
    panel: impl Fn(usize) -> N,
    (rows, x): (usize, &[f32]),
    sums: &mut [[f32; PANEL]],
) {
    match rows {
        1 => pairs::<S, N, 1>(simd, panel, x, sums),
        2 => pairs::<S, N, 2>(simd, panel, x, sums),
        3 => pairs::<S, N, 3>(simd, panel, x, sums),
        4 => pairs::<S, N, 4>(simd, panel, x, sums),
        5 => pairs::<S, N, 5>(simd, panel, x, sums),
        6 => pairs::<S, N, 6>(simd, panel, x, sums),
        7 => pairs::<S, N, 7>(simd, panel, x, sums),
        8 => pairs::<S, N, 8>(simd, panel, x, sums),
        more => unreachable!("{more} rows are not few"),
    }
}

fn pairs<S: Simd, N: Narrow, const ROWS: usize>(
    simd: S,
    panel: impl Fn(usize) -> N,
    x: &[f32],
    sums: &mut [[f32; PANEL]],
) {
    let x = x.as_chunks().0;
    let sums = sums.as_chunks_mut::<ROWS>().0;
    // Two vectors of sums for each row of a panel.
    if 4 * ROWS > S::SUMS {
        for (index, sums) in sums.iter_mut().enumerate() {
            simd.vectorize(FewRows { panels: [panel(index)], x, sums: std::array::from_mut(sums) });
        }
        return;
    }
    let (pairs, last) = sums.as_chunks_mut();
    let count = 2 * pairs.len();
    for (index, sums) in pairs.iter_mut().enumerate() {
        simd.vectorize(FewRows { panels: [panel(2 * index), panel(2 * index + 1)], x, sums });
    }
    if let Some(sums) = last.first_chunk_mut() {
        simd.vectorize(FewRows { panels: [panel(count)], x, sums });
    }
}
