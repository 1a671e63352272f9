//! Rows rounded to eight-bit integers in blocks of 32 inputs.
//!
//! The number of largest magnitude in a block becomes 127 or -127, so no number is off by more than 1/254 of it.
//! Rounding depends on nothing but the 32 numbers themselves.

use crate::{
    isa::{Kernel, Simd},
    quantise::{BLOCK, whole},
    rows::{Rows, groups},
};

/// Inputs whose products are summed in one step in each column.
pub(crate) const QUAD: usize = 4;

/// Steps in a block.
pub(crate) const QUADS: usize = BLOCK / QUAD;

/// A group of a few rounded rows, interleaved.
#[derive(Debug)]
pub(crate) struct Rounded {
    rows: usize,
    /// Four integers in each word, the first in the lowest bits: `[blocks][QUADS][rows]`.
    pub(crate) quads: Vec<u32>,
    /// The sum of the integers in each block, `[blocks][rows]`.
    pub(crate) sums: Vec<i32>,
    /// The scales by which the integers are multiplied, `[blocks][rows]`.
    pub(crate) scales: Vec<f32>,
}

impl Rows for Rounded {
    fn rows(&self) -> usize {
        self.rows
    }
}

/// Rounds the rows of `x` `[rows][size]`, in groups of at most `most`.
pub(crate) fn round<S: Simd>(simd: S, x: &[f32], (size, most): (usize, usize)) -> Vec<Rounded> {
    // Rounding a number costs about as much as eight multiply-adds.
    groups(x, (size, most), 8, |x| round_group(simd, x, size))
}

fn round_group<S: Simd>(simd: S, x: &[f32], size: usize) -> Rounded {
    let (rows, blocks) = (x.len() / size, size.div_ceil(BLOCK));
    let (quads, sums, scales) =
        (vec![0; blocks * QUADS * rows], vec![0; blocks * rows], vec![0.0; blocks * rows]);
    let mut rounded = Rounded { rows, quads, sums, scales };
    for (row, x) in x.chunks_exact(size).enumerate() {
        simd.vectorize(RoundRow { x, row, rounded: &mut rounded });
    }
    rounded
}

struct RoundRow<'a> {
    x: &'a [f32],
    row: usize,
    rounded: &'a mut Rounded,
}

impl Kernel for RoundRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Rounded { rows, quads, sums, scales } = self.rounded;
        let (blocks, rest) = self.x.as_chunks::<BLOCK>();
        let mut last = [0.0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        let last = (!rest.is_empty()).then_some(&last);
        let places = quads.chunks_exact_mut(QUADS * *rows).zip(sums.chunks_exact_mut(*rows));
        let places = places.zip(scales.chunks_exact_mut(*rows));
        for (block, ((quads, sums), scales)) in blocks.iter().chain(last).zip(places) {
            let numbers;
            (numbers, scales[self.row]) = round_block(block);
            sums[self.row] = numbers.iter().map(|number| i32::from(*number)).sum();
            let places = quads[self.row..].iter_mut().step_by(*rows);
            for (place, quad) in places.zip(numbers.as_chunks::<QUAD>().0) {
                *place = u32::from_le_bytes(quad.map(|number| number as u8));
            }
        }
    }
}

/// Returns integers from -127 to 127 and their scale. The scale is not finite if a number of `x` is NaN or infinite.
#[inline(always)]
fn round_block(x: &[f32; BLOCK]) -> ([i8; BLOCK], f32) {
    // Without the sign bit, the bits of floats sort like their magnitudes, and NaN is the largest.
    let largest = x.iter().fold(0, |largest, x| (x.to_bits() & 0x7fff_ffff).max(largest));
    let largest = f32::from_bits(largest);
    let inverse = 127.0 / largest;
    // Infinite if all numbers are (almost) 0, and NaN if one of them is.
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    let mut numbers = [0; BLOCK];
    for (number, x) in numbers.iter_mut().zip(x) {
        *number = whole(x * inverse);
    }
    (numbers, largest / 127.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    struct Round<'a>(&'a [f32], (usize, usize));

    impl Kernel for Round<'_> {
        type Output = Vec<Rounded>;

        fn run<S: Simd>(self, simd: S) -> Vec<Rounded> {
            round(simd, self.0, self.1)
        }
    }

    /// Returns the integers and the scales of each row of `groups`.
    fn rows_of(groups: &[Rounded], size: usize) -> Vec<(Vec<i8>, Vec<f32>)> {
        let row = |group: &Rounded, row: usize| {
            let quads = group.quads.iter().skip(row).step_by(group.rows);
            let numbers: Vec<i8> = quads.flat_map(|quad| quad.to_le_bytes().map(|byte| byte as i8)).collect();
            assert!(numbers[size..].iter().all(|number| *number == 0));
            for (sum, numbers) in group.sums.iter().skip(row).step_by(group.rows).zip(numbers.chunks(BLOCK)) {
                assert_eq!(*sum, numbers.iter().map(|number| i32::from(*number)).sum::<i32>());
            }
            (numbers[..size].to_vec(), group.scales.iter().skip(row).step_by(group.rows).copied().collect())
        };
        groups.iter().flat_map(|group| (0..group.rows).map(move |index| row(group, index))).collect()
    }

    #[test]
    fn numbers_are_the_nearest_and_the_same_in_every_set_and_company() {
        let (rows, size) = (9, 75);
        let number = |index: usize| ((index * 7919 + 13) % 1009) as f32 / 37.0 - 11.0;
        let x: Vec<f32> = (0..rows * size).map(number).collect();
        let alone = rows_of(&Isa::best().run(Round(&x, (size, 1))), size);
        for (x, (numbers, scales)) in x.chunks(size).zip(&alone) {
            for (block, (x, numbers)) in x.chunks(BLOCK).zip(numbers.chunks(BLOCK)).enumerate() {
                let largest = x.iter().map(|x| x.abs()).fold(0.0, f32::max);
                assert_eq!(scales[block], largest / 127.0);
                for (x, number) in x.iter().zip(numbers) {
                    let exact = f64::from(*x) * 127.0 / f64::from(largest);
                    assert!((f64::from(*number) - exact).abs() < 0.500_01, "{exact} became {number}");
                }
            }
        }
        for isa in Isa::available() {
            for most in [1, 4, 6, 9] {
                assert_eq!(rows_of(&isa.run(Round(&x, (size, most))), size), alone, "{}", isa.name());
            }
        }
    }

    #[test]
    fn what_is_no_number_is_told_by_the_scale() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; BLOCK];
            x[7] = odd;
            assert!(!round_block(&x).1.is_finite());
        }
        assert_eq!(round_block(&[0.0; BLOCK]), ([0; BLOCK], 0.0));
        assert_eq!(round_block(&[1e-45; BLOCK]).0, [0; BLOCK]);
        assert_eq!(round_block(&[-f32::MAX; BLOCK]), ([-127; BLOCK], f32::MAX / 127.0));
    }
}
