//! Scales images along one axis, in integer arithmetic.

use rayon::prelude::*;

use crate::isa::{Isa, Kernel, Simd};

/// Bytes of a pixel: red, green and blue.
const PIXEL: usize = 3;

/// Rows that are scaled side by side, and the bytes of a column of them, in which pixels are padded to four bytes.
const ROWS: usize = 4;
const COLUMN: usize = ROWS * 4;

/// Bytes of a row that are summed together.
const RUN: usize = 32;

/// Multiply-adds of one unit of work, about a tenth of a millisecond: a model step on the same threads does not wait
/// long for one.
const PIECE: usize = 1 << 20;

/// An image of at most this many units of work is scaled on the calling thread, which leaves the others to a model
/// step.
const FEW: usize = 16;

/// The source pixels that contribute to one output pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The index of the first source pixel.
    pub first: usize,
    /// The weights of the source pixels from `first` on. Sums of bytes times these weights must fit in an i32.
    pub weights: Vec<i32>,
}

/// The fixed-point weights of each output pixel along an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resampling {
    /// The window of each output pixel.
    pub windows: Vec<Window>,
    /// The fractional bits of the weights. Sums are rounded to integers and clamped to 0 to 255.
    pub fraction_bits: u32,
}

impl Resampling {
    /// Scales rows of `width` pixels to `windows.len()` pixels each.
    ///
    /// # Panics
    /// If the rows are not whole or a window ends beyond a row.
    pub fn columns(&self, isa: Isa, pixels: &[u8], width: usize) -> Vec<u8> {
        let (from, to) = (width * PIXEL, self.windows.len() * PIXEL);
        if to == 0 || pixels.is_empty() {
            return Vec::new();
        }
        assert!(pixels.len().is_multiple_of(from), "whole rows of {width} pixels");
        let mut scaled = vec![0; pixels.len() / from * to];
        let rows = (PIECE / (ROWS * self.work())).max(1) * ROWS;
        let piece = |(pixels, scaled)| isa.vectorize(Columns { resampling: self, pixels, from, scaled });
        if pixels.len() <= FEW * rows * from {
            piece((pixels, &mut scaled[..]));
        } else {
            pixels.par_chunks(rows * from).zip(scaled.par_chunks_mut(rows * to)).for_each(piece);
        }
        scaled
    }

    /// Scales the columns of rows of `width` pixels to `windows.len()` rows.
    ///
    /// # Panics
    /// If the rows are not whole or a window ends beyond the last row.
    pub fn rows(&self, isa: Isa, pixels: &[u8], width: usize) -> Vec<u8> {
        let row = width * PIXEL;
        if row == 0 {
            return Vec::new();
        }
        assert!(pixels.len().is_multiple_of(row), "whole rows of {width} pixels");
        let mut scaled = vec![0; self.windows.len() * row];
        let together = (PIECE * self.windows.len() / (self.work() * width).max(1)).max(1);
        let fraction_bits = self.fraction_bits;
        let piece = |(windows, scaled)| {
            isa.vectorize(Rows { windows, fraction_bits, pixels, row, scaled });
        };
        if self.windows.len() <= FEW * together {
            piece((&self.windows[..], &mut scaled[..]));
        } else {
            let pieces = self.windows.par_chunks(together).zip(scaled.par_chunks_mut(together * row));
            pieces.for_each(piece);
        }
        scaled
    }

    /// Returns the multiply-adds of one line of pixels along the axis, with all its channels.
    fn work(&self) -> usize {
        self.windows.iter().map(|window| window.weights.len()).sum::<usize>() * PIXEL
    }
}

struct Columns<'a> {
    resampling: &'a Resampling,
    pixels: &'a [u8],
    from: usize,
    scaled: &'a mut [u8],
}

struct Rows<'a> {
    windows: &'a [Window],
    fraction_bits: u32,
    pixels: &'a [u8],
    row: usize,
    scaled: &'a mut [u8],
}

/// Writes `LANES` weighted sums of bytes, rounded, to `scaled`. A compiler vectorises the loops over the lanes as
/// long as `scaled` is memory from which no single byte is taken.
#[inline(always)]
fn weigh<'a, const LANES: usize>(
    bytes: impl Iterator<Item = &'a [u8; LANES]>,
    (weights, fraction_bits): (&[i32], u32),
    scaled: &mut [u8; LANES],
) {
    let mut sums = [1 << (fraction_bits - 1); LANES];
    for (bytes, weight) in bytes.zip(weights) {
        for lane in 0..LANES {
            sums[lane] += i32::from(bytes[lane]) * weight;
        }
    }
    for lane in 0..LANES {
        scaled[lane] = (sums[lane] >> fraction_bits).clamp(0, 255) as u8;
    }
}

impl Kernel for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { resampling: Resampling { windows, fraction_bits }, pixels, from, scaled } = self;
        let to = windows.len() * PIXEL;
        let mut columns = vec![[0; COLUMN]; from / PIXEL];
        let mut made = vec![[0; COLUMN]; windows.len()];
        for (pixels, scaled) in pixels.chunks(ROWS * from).zip(scaled.chunks_mut(ROWS * to)) {
            for (row, pixels) in pixels.chunks_exact(from).enumerate() {
                for (column, pixel) in columns.iter_mut().zip(pixels.as_chunks::<PIXEL>().0) {
                    column[row * 4..row * 4 + PIXEL].copy_from_slice(pixel);
                }
            }
            for (window, made) in windows.iter().zip(&mut made) {
                let columns = columns[window.first..window.first + window.weights.len()].iter();
                weigh(columns, (&window.weights, *fraction_bits), made);
            }
            for (row, scaled) in scaled.chunks_exact_mut(to).enumerate() {
                for (pixel, column) in scaled.as_chunks_mut::<PIXEL>().0.iter_mut().zip(&made) {
                    pixel.copy_from_slice(&column[row * 4..row * 4 + PIXEL]);
                }
            }
        }
    }
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { windows, fraction_bits, pixels, row, scaled } = self;
        for (window, scaled) in windows.iter().zip(scaled.chunks_exact_mut(row)) {
            let pixels = &pixels[window.first * row..(window.first + window.weights.len()) * row];
            let (runs, rest) = scaled.as_chunks_mut::<RUN>();
            let done = runs.len() * RUN;
            for (index, run) in runs.iter_mut().enumerate() {
                let rows = pixels.chunks_exact(row).map(|row| &row.as_chunks().0[index]);
                weigh(rows, (&window.weights, fraction_bits), run);
            }
            for (index, byte) in rest.as_chunks_mut::<1>().0.iter_mut().enumerate() {
                let rows = pixels.chunks_exact(row).map(|row| &row[done..].as_chunks().0[index]);
                weigh(rows, (&window.weights, fraction_bits), byte);
            }
        }
    }
}
