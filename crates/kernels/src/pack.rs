//! Packs weights into panels: numbers that are multiplied in one step lie next to each other.

use std::ops::Range;

use rayon::prelude::*;

use crate::{
    aligned::Aligned,
    gguf::{EIGHT_BITS, FOUR_BITS, eight_bits, four_bits},
    isa::{Isa, Kernel, Simd},
    micro::PANEL,
    quantise::{BLOCK, Quantised, code, to_q4, to_q8},
    rounded::{QUAD, QUADS},
    weights::Matrix,
};

/// Blocks of a column that are packed before those of the next column: this part of the panel stays in the L1 cache
/// meanwhile.
const BLOCKS_AT_ONCE: usize = 16;

/// Inputs of a column that are packed before those of the next column, for float weights.
const INPUTS_AT_ONCE: usize = 128;

/// Packs `weight` `[output, input]` unchanged into panels `[panels][input][PANEL]`.
pub(crate) fn pack_floats<T: Copy + Default + Send + Sync>(
    weight: &[T],
    (output, input): (usize, usize),
) -> Aligned<T> {
    let mut panels = Aligned::zeros(output.div_ceil(PANEL) * input * PANEL);
    let pieces = panels.par_chunks_mut(input * PANEL).zip(weight.par_chunks(input * PANEL));
    pieces.for_each(|(panel, weight)| {
        for (start, panel) in panel.chunks_mut(INPUTS_AT_ONCE * PANEL).enumerate() {
            for (column, weight) in weight.chunks_exact(input).enumerate() {
                let places = panel[column..].iter_mut().step_by(PANEL);
                places.zip(&weight[start * INPUTS_AT_ONCE..]).for_each(|(place, number)| *place = *number);
            }
        }
    });
    panels
}

/// A source of quantised blocks, each of which has `WORDS` words of codes.
pub(crate) trait Blocks<const WORDS: usize>: Copy + Sync {
    /// Returns the codes and the scale (bits of an f16) of the block of `length` weights that begins at weight
    /// `start`.
    fn block<S: Simd>(self, simd: S, start: usize, length: usize) -> ([u32; WORDS], u16);
}

/// Quantises weights to codes of eight bits.
#[derive(Clone, Copy)]
pub(crate) struct ToEight<'a>(pub(crate) Matrix<'a>);

/// Quantises weights to codes of four bits.
#[derive(Clone, Copy)]
pub(crate) struct ToFour<'a>(pub(crate) Matrix<'a>);

/// Copies the eight-bit codes of blocks of Q8_0.
#[derive(Clone, Copy)]
pub(crate) struct GivenEight<'a>(pub(crate) &'a [u8]);

/// Copies the four-bit codes of blocks of Q4_0 or IQ4_NL.
#[derive(Clone, Copy)]
pub(crate) struct GivenFour<'a>(pub(crate) &'a [u8]);

/// Returns the codes of a block in the layout of [`crate::dots::Eight`], and its scale.
#[inline(always)]
fn eight_words(block: &Quantised) -> ([u32; QUADS], u16) {
    let mut words = [0; QUADS];
    for (word, quad) in words.iter_mut().zip(block.codes.as_chunks::<QUAD>().0) {
        *word = u32::from_le_bytes(quad.map(code));
    }
    (words, block.scale)
}

/// Returns the codes of a block in the layout of [`crate::dots::Four`], and its scale.
#[inline(always)]
fn four_words(block: &Quantised) -> ([u32; QUADS / 2], u16) {
    let mut words = [0; QUADS / 2];
    for (word, [lower, upper]) in words.iter_mut().zip(block.codes.as_chunks::<QUAD>().0.as_chunks().0) {
        let bits = |quad: &[i8; QUAD]| u32::from_le_bytes(quad.map(|code| code as u8));
        *word = bits(lower) | bits(upper) << 4;
    }
    (words, block.scale)
}

impl Blocks<QUADS> for ToEight<'_> {
    #[inline(always)]
    fn block<S: Simd>(self, simd: S, start: usize, length: usize) -> ([u32; QUADS], u16) {
        eight_words(&to_q8(&self.0.block(simd, start, length)))
    }
}

impl Blocks<{ QUADS / 2 }> for ToFour<'_> {
    #[inline(always)]
    fn block<S: Simd>(self, simd: S, start: usize, length: usize) -> ([u32; QUADS / 2], u16) {
        four_words(&to_q4(simd, &self.0.block(simd, start, length)))
    }
}

impl Blocks<QUADS> for GivenEight<'_> {
    #[inline(always)]
    fn block<S: Simd>(self, _simd: S, start: usize, _length: usize) -> ([u32; QUADS], u16) {
        eight_words(&eight_bits(&self.0.as_chunks::<EIGHT_BITS>().0[start / BLOCK]))
    }
}

impl Blocks<{ QUADS / 2 }> for GivenFour<'_> {
    #[inline(always)]
    fn block<S: Simd>(self, _simd: S, start: usize, _length: usize) -> ([u32; QUADS / 2], u16) {
        four_words(&four_bits(&self.0.as_chunks::<FOUR_BITS>().0[start / BLOCK]))
    }
}

/// Packs blocks into codes `[panels][blocks][WORDS][PANEL]` and scales `[panels][blocks][PANEL]`.
pub(crate) fn pack_blocks<const WORDS: usize>(
    blocks: impl Blocks<WORDS>,
    (output, input): (usize, usize),
) -> (Aligned<u32>, Aligned<u16>) {
    let (panels, count) = (output.div_ceil(PANEL), input.div_ceil(BLOCK));
    let mut codes = Aligned::zeros(panels * count * WORDS * PANEL);
    let mut scales = Aligned::zeros(panels * count * PANEL);
    let pieces = codes.par_chunks_mut(count * WORDS * PANEL).zip(scales.par_chunks_mut(count * PANEL));
    pieces.enumerate().for_each(|(panel, (codes, scales))| {
        let rows = panel * PANEL..output.min((panel + 1) * PANEL);
        let codes: &mut [[[u32; PANEL]; WORDS]] = codes.as_chunks_mut().0.as_chunks_mut().0;
        let panel = PackPanel { blocks, rows, input, codes, scales: scales.as_chunks_mut().0 };
        Isa::best().vectorize(panel);
    });
    (codes, scales)
}

struct PackPanel<'a, B, const WORDS: usize> {
    blocks: B,
    /// The rows of the weight that belong to the panel.
    rows: Range<usize>,
    input: usize,
    codes: &'a mut [[[u32; PANEL]; WORDS]],
    scales: &'a mut [[u16; PANEL]],
}

impl<B: Blocks<WORDS>, const WORDS: usize> Kernel for PackPanel<'_, B, WORDS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let pieces = self.codes.chunks_mut(BLOCKS_AT_ONCE).zip(self.scales.chunks_mut(BLOCKS_AT_ONCE));
        for (piece, (codes, scales)) in pieces.enumerate() {
            for (column, row) in self.rows.clone().enumerate() {
                for (index, (codes, scales)) in codes.iter_mut().zip(&mut *scales).enumerate() {
                    let start = (piece * BLOCKS_AT_ONCE + index) * BLOCK;
                    let length = BLOCK.min(self.input - start);
                    let (words, scale) = self.blocks.block(simd, row * self.input + start, length);
                    scales[column] = scale;
                    for (step, word) in codes.iter_mut().zip(words) {
                        step[column] = word;
                    }
                }
            }
        }
    }
}
