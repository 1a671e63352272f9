//! The inner loops: a few rows times a panel, with all sums held in registers.

use crate::isa::{Kernel, LANES, Simd};

/// Columns of a full panel: two vectors.
pub(crate) const PANEL: usize = 2 * LANES;

/// The largest number of rows that a kernel of any instruction set processes at once.
pub(crate) const MOST_ROWS: usize = 14;

/// A panel of numbers that rows are multiplied with.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a, const WIDTH: usize> {
    /// The numbers of each step: those of step `k` multiply number `k` of each row.
    pub(crate) steps: &'a [[f32; WIDTH]],
    /// Memory to prefetch at each step because it is needed some time later; hardware prefetchers stop at page
    /// boundaries. May be shorter than `steps`.
    pub(crate) later: &'a [[f32; WIDTH]],
}

impl<'a, const WIDTH: usize> Panel<'a, WIDTH> {
    /// Creates a panel from numbers `[k][WIDTH]`.
    pub(crate) fn new(steps: &'a [f32], later: &'a [f32]) -> Self {
        Self { steps: steps.as_chunks().0, later: later.as_chunks().0 }
    }
}

/// Adds to `sums[row][column]` the products of `x[k][row]` and `panel.steps[k][column]`, `k` ascending.
struct Packed<'a, const ROWS: usize> {
    panel: Panel<'a, PANEL>,
    x: &'a [[f32; ROWS]],
    sums: &'a mut [[f32; PANEL]; ROWS],
}

/// Adds to `sums[row][column]` the products of `x[row][k]` and `panel.steps[k][column]`, `k` ascending.
struct Plain<'a, const ROWS: usize, const WIDTH: usize> {
    panel: Panel<'a, WIDTH>,
    x: &'a [[f32; PANEL]; ROWS],
    sums: &'a mut [[f32; WIDTH]; ROWS],
}

/// Loads sums of each row into registers, `VECTORS` vectors starting at vector `first`: all sums of the rows, or as
/// many as fit.
#[inline(always)]
fn load<S: Simd, const ROWS: usize, const VECTORS: usize, const WIDTH: usize>(
    simd: S,
    floats: &[[f32; WIDTH]; ROWS],
    first: usize,
) -> [[S::Vector; VECTORS]; ROWS] {
    let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
    for (sums, floats) in sums.iter_mut().zip(floats) {
        for (sum, floats) in sums.iter_mut().zip(&floats.as_chunks().0[first..]) {
            *sum = simd.load(floats);
        }
    }
    sums
}

#[inline(always)]
fn store<S: Simd, const ROWS: usize, const VECTORS: usize, const WIDTH: usize>(
    simd: S,
    sums: &[[S::Vector; VECTORS]; ROWS],
    floats: &mut [[f32; WIDTH]; ROWS],
    first: usize,
) {
    for (sums, floats) in sums.iter().zip(floats) {
        for (sum, floats) in sums.iter().zip(&mut floats.as_chunks_mut().0[first..]) {
            simd.store(*sum, floats);
        }
    }
}

/// Returns `VECTORS` vectors of a step, starting at vector `first`.
#[inline(always)]
pub(crate) fn vectors<T, const VECTORS: usize, const WIDTH: usize>(
    step: &[T; WIDTH],
    first: usize,
) -> &[[T; LANES]; VECTORS] {
    step.as_chunks().0[first..].first_chunk().expect("a panel has this many vectors")
}

impl<const ROWS: usize> Packed<'_, ROWS> {
    /// Multiplies the columns of `VECTORS` vectors, starting at vector `first`.
    #[inline(always)]
    fn columns<S: Simd, const VECTORS: usize>(&mut self, simd: S, first: usize) {
        let mut sums = load::<S, ROWS, VECTORS, PANEL>(simd, self.sums, first);
        let mut later = self.panel.later.iter();
        for (weights, x) in self.panel.steps.iter().zip(self.x) {
            if let Some(later) = later.next() {
                vectors::<_, VECTORS, _>(later, first).iter().for_each(|line| simd.prefetch(line));
            }
            let weights = vectors::<_, VECTORS, _>(weights, first).each_ref().map(|line| simd.load(line));
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = simd.splat(*x);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = simd.fma(weights, x, *sum);
                }
            }
        }
        store(simd, &sums, self.sums, first);
    }
}

impl<const ROWS: usize> Kernel for Packed<'_, ROWS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        if 2 * ROWS <= S::SUMS {
            self.columns::<S, 2>(simd, 0);
        } else {
            self.columns::<S, 1>(simd, 0);
            self.columns::<S, 1>(simd, 1);
        }
    }
}

impl<const ROWS: usize, const WIDTH: usize> Plain<'_, ROWS, WIDTH> {
    /// Multiplies the columns of `VECTORS` vectors, starting at vector `first`.
    #[inline(always)]
    fn columns<S: Simd, const VECTORS: usize>(&mut self, simd: S, first: usize) {
        let mut sums = load::<S, ROWS, VECTORS, WIDTH>(simd, self.sums, first);
        let mut later = self.panel.later.iter();
        for (k, weights) in self.panel.steps.iter().take(PANEL).enumerate() {
            if let Some(later) = later.next() {
                vectors::<_, VECTORS, _>(later, first).iter().for_each(|line| simd.prefetch(line));
            }
            let weights = vectors::<_, VECTORS, _>(weights, first).each_ref().map(|line| simd.load(line));
            for (sums, x) in sums.iter_mut().zip(self.x) {
                let x = simd.splat(x[k]);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = simd.fma(weights, x, *sum);
                }
            }
        }
        store(simd, &sums, self.sums, first);
    }
}

impl<const ROWS: usize, const WIDTH: usize> Kernel for Plain<'_, ROWS, WIDTH> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        if WIDTH == LANES {
            self.columns::<S, 1>(simd, 0);
        } else if 2 * ROWS <= S::SUMS {
            self.columns::<S, 2>(simd, 0);
        } else {
            self.columns::<S, 1>(simd, 0);
            self.columns::<S, 1>(simd, 1);
        }
    }
}

/// Calls the macro `$call` with the number of rows as a literal constant.
macro_rules! by_rows {
    ($rows:expr, $call:ident) => {
        match $rows {
            0 => {}
            1 => $call!(1),
            2 => $call!(2),
            3 => $call!(3),
            4 => $call!(4),
            5 => $call!(5),
            6 => $call!(6),
            7 => $call!(7),
            8 => $call!(8),
            9 => $call!(9),
            10 => $call!(10),
            11 => $call!(11),
            12 => $call!(12),
            13 => $call!(13),
            14 => $call!(14),
            more => unreachable!("{more} rows in one tile"),
        }
    };
}

pub(crate) use by_rows;

/// Adds to `sums` `[rows][PANEL]` the product of `x` `[k][rows]` and `panel` `[k][PANEL]`.
pub(crate) fn multiply_packed<S: Simd>(
    simd: S,
    panel: Panel<'_, PANEL>,
    x: &[f32],
    sums: &mut [[f32; PANEL]],
) {
    debug_assert_eq!(panel.steps.len() * sums.len(), x.len());
    macro_rules! call {
        ($rows:literal) => {{
            let sums = sums.first_chunk_mut().expect("there are this many rows");
            simd.vectorize(Packed::<$rows> { panel, x: x.as_chunks().0, sums })
        }};
    }
    by_rows!(sums.len(), call)
}

/// Adds to `sums` `[rows][WIDTH]` the product of `x` `[rows][..k]` and `panel` `[k][WIDTH]`, for at most [`PANEL`]
/// steps `k`.
pub(crate) fn multiply_plain<S: Simd, const WIDTH: usize>(
    simd: S,
    panel: Panel<'_, WIDTH>,
    x: &[[f32; PANEL]],
    sums: &mut [[f32; WIDTH]],
) {
    debug_assert_eq!(x.len(), sums.len());
    macro_rules! call {
        ($rows:literal) => {{
            let sums = sums.first_chunk_mut().expect("there are this many rows");
            let x = x.first_chunk().expect("there are this many rows");
            simd.vectorize(Plain::<$rows, WIDTH> { panel, x, sums })
        }};
    }
    by_rows!(sums.len(), call)
}
