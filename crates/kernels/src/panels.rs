//! Weights cut into panels of 32 outputs, in one of the forms in which they are kept.

use rayon::prelude::*;

use crate::{
    aligned::Aligned,
    gguf::{self, eight_bits, four_bits},
    half::{bf16_to_f32, f16_to_f32},
    micro::PANEL,
    narrow::GROUP,
    quantise::{BLOCK, EVEN_LEVELS, LEVELS, Quantised, to_q4, to_q8},
};

/// A weight `[output, input]` in the type that it is given in.
#[derive(Debug, Clone, Copy)]
pub enum Matrix<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// Bits of 16-bit floats with 8 exponent bits.
    Bf16(&'a [u16]),
    /// Bits of 16-bit floats with 5 exponent bits.
    F16(&'a [u16]),
    /// Blocks of GGUF's type Q8_0, output by output. A block is 34 bytes for 32 inputs: a scale as a little-endian f16, and
    /// a whole number of eight bits with its sign for each input. A weight is its number times the scale.
    Q8_0(&'a [u8]),
    /// Blocks of GGUF's type Q4_0, output by output. A block is 18 bytes for 32 inputs: a scale as a little-endian f16, and
    /// 16 bytes, whose lower four bits are of inputs 0 to 15 and whose upper four bits are of inputs 16 to 31. A weight is
    /// its bits, less 8, times the scale.
    Q4_0(&'a [u8]),
    /// Blocks of GGUF's type IQ4_NL: as those of Q4_0, but the bits name one of 16 levels, and a weight is its level
    /// times the scale.
    Iq4Nl(&'a [u8]),
}

/// The form in which a weight is kept. What is given in as few bits already, or fewer, is kept as it is by every form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// In the type that it is given in: nothing is lost.
    #[default]
    Given,
    /// Eight bits, and an f16 for each 32 inputs of an output: 8.5 bits a weight.
    Q8,
    /// Four bits at uneven levels, and an f16 for each 32 inputs of an output: 4.5 bits a weight.
    Q4,
}

/// The panels. `steps` is the number of inputs, for all but `F32` with the last group or block filled up.
#[derive(Debug)]
pub(crate) enum Panels {
    F32(Aligned<f32>),  // [panels][steps][PANEL]
    Bf16(Aligned<u16>), // the same
    F16(Aligned<u16>),  // the same
    Q8 {
        codes: Aligned<i8>,   // the same
        scales: Aligned<u16>, // [panels][steps / BLOCK][PANEL]
    },
    Q4 {
        codes: Aligned<u32>,  // [panels][steps / GROUP][PANEL]
        scales: Aligned<u16>, // [panels][steps / BLOCK][PANEL]
        levels: [i8; 16],
    },
}

impl Matrix<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(floats) => floats.len(),
            Self::Bf16(bits) | Self::F16(bits) => bits.len(),
            Self::Q8_0(bytes) => whole_blocks(bytes, gguf::EIGHT_BITS) * BLOCK,
            Self::Q4_0(bytes) | Self::Iq4Nl(bytes) => whole_blocks(bytes, gguf::FOUR_BITS) * BLOCK,
        }
    }

    /// Up to 32 weights from `start` on, zeros behind them.
    fn block(&self, start: usize, length: usize) -> [f32; BLOCK] {
        let mut weights = [0.0; BLOCK];
        match self {
            Self::F32(floats) => weights[..length].copy_from_slice(&floats[start..start + length]),
            Self::Bf16(bits) => {
                weights.iter_mut().zip(&bits[start..start + length]).for_each(|(w, b)| *w = bf16_to_f32(*b));
            }
            Self::F16(bits) => {
                weights.iter_mut().zip(&bits[start..start + length]).for_each(|(w, b)| *w = f16_to_f32(*b));
            }
            Self::Q8_0(bytes) => weights = eight_bits(&bytes.as_chunks().0[start / BLOCK]).whole(),
            Self::Q4_0(bytes) => {
                weights = four_bits(&bytes.as_chunks().0[start / BLOCK]).at_levels(&EVEN_LEVELS);
            }
            Self::Iq4Nl(bytes) => weights = four_bits(&bytes.as_chunks().0[start / BLOCK]).at_levels(&LEVELS),
        }
        weights
    }

    /// How many inputs an output's blocks must fill.
    pub(crate) fn block_size(&self) -> usize {
        match self {
            Self::F32(_) | Self::Bf16(_) | Self::F16(_) => 1,
            Self::Q8_0(_) | Self::Q4_0(_) | Self::Iq4Nl(_) => BLOCK,
        }
    }
}

/// How many blocks `bytes` are.
fn whole_blocks(bytes: &[u8], size: usize) -> usize {
    assert!(bytes.len().is_multiple_of(size), "{} bytes are no blocks of {size}", bytes.len());
    bytes.len() / size
}

impl Panels {
    /// Packs `weight` `[output, input]`; neither is 0.
    pub(crate) fn new(weight: Matrix<'_>, form: Form, (output, input): (usize, usize)) -> Self {
        match (form, weight) {
            (Form::Given, Matrix::F32(floats)) => Self::F32(pack(floats, (output, input), input)),
            (Form::Given, Matrix::Bf16(bits)) => {
                Self::Bf16(pack(bits, (output, input), input.next_multiple_of(GROUP)))
            }
            (Form::Given, Matrix::F16(bits)) => {
                Self::F16(pack(bits, (output, input), input.next_multiple_of(GROUP)))
            }
            (Form::Given | Form::Q8, Matrix::Q8_0(bytes)) => {
                let blocks = bytes.as_chunks().0;
                pack_q8((output, input), |start, _| eight_bits(&blocks[start / BLOCK]))
            }
            (_, Matrix::Q4_0(bytes)) => pack_four_bits(bytes, (output, input), EVEN_LEVELS),
            (_, Matrix::Iq4Nl(bytes)) => pack_four_bits(bytes, (output, input), LEVELS),
            (Form::Q8, Matrix::F32(_) | Matrix::Bf16(_) | Matrix::F16(_)) => {
                pack_q8((output, input), |start, length| to_q8(&weight.block(start, length)))
            }
            (Form::Q4, Matrix::F32(_) | Matrix::Bf16(_) | Matrix::F16(_) | Matrix::Q8_0(_)) => {
                pack_q4((output, input), LEVELS, |start, length| to_q4(&weight.block(start, length)))
            }
        }
    }

    /// The weight of `output` and `input`, as it is multiplied; `inputs` are all there are.
    pub(crate) fn weight(&self, output: usize, (input, inputs): (usize, usize)) -> f32 {
        let (panel, column) = (output / PANEL, output % PANEL);
        let at = |steps: usize, step: usize| (panel * steps + step) * PANEL + column;
        let (groups, blocks) = (inputs.next_multiple_of(GROUP), inputs.div_ceil(BLOCK));
        let scale = |scales: &Aligned<u16>| f16_to_f32(scales[at(blocks, input / BLOCK)]);
        match self {
            Self::F32(floats) => floats[at(inputs, input)],
            Self::Bf16(bits) => bf16_to_f32(bits[at(groups, input)]),
            Self::F16(bits) => f16_to_f32(bits[at(groups, input)]),
            Self::Q8 { codes, scales } => f32::from(codes[at(blocks * BLOCK, input)]) * scale(scales),
            Self::Q4 { codes, scales, levels } => {
                let code = codes[at(blocks * BLOCK / GROUP, input / GROUP)] >> (4 * (input % GROUP)) & 15;
                f32::from(levels[code as usize]) * scale(scales)
            }
        }
    }

    /// Bytes that are read when every weight is read once.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::F32(floats) => size_of_val(&**floats),
            Self::Bf16(bits) | Self::F16(bits) => size_of_val(&**bits),
            Self::Q8 { codes, scales } => size_of_val(&**codes) + size_of_val(&**scales),
            Self::Q4 { codes, scales, .. } => size_of_val(&**codes) + size_of_val(&**scales),
        }
    }
}

/// Weights as they are, in panels of `steps`.
fn pack<T: Copy + Default + Send + Sync>(
    weight: &[T],
    (output, input): (usize, usize),
    steps: usize,
) -> Aligned<T> {
    let mut panels = Aligned::zeros(output.div_ceil(PANEL) * steps * PANEL);
    let pieces = panels.par_chunks_mut(steps * PANEL).zip(weight.par_chunks(input * PANEL));
    pieces.for_each(|(panel, weight)| {
        for (k, panel) in panel.chunks_exact_mut(PANEL).take(input).enumerate() {
            for (place, number) in panel.iter_mut().zip(weight[k..].iter().step_by(input)) {
                *place = *number;
            }
        }
    });
    panels
}

/// Gets the blocks of all columns of panel `panel`, by where they begin and how many weights they have, and hands each to
/// `keep` with its column and its place among the blocks of the column.
fn each_block(
    panel: usize,
    (output, input): (usize, usize),
    get: impl Fn(usize, usize) -> Quantised,
    mut keep: impl FnMut(usize, usize, &Quantised),
) {
    for column in 0..PANEL.min(output - panel * PANEL) {
        let row = (panel * PANEL + column) * input;
        for (index, start) in (0..input).step_by(BLOCK).enumerate() {
            keep(column, index, &get(row + start, BLOCK.min(input - start)));
        }
    }
}

fn pack_q8((output, input): (usize, usize), get: impl Fn(usize, usize) -> Quantised + Sync) -> Panels {
    let (panels, blocks) = (output.div_ceil(PANEL), input.div_ceil(BLOCK));
    let mut codes = Aligned::<i8>::zeros(panels * blocks * BLOCK * PANEL);
    let mut scales = Aligned::<u16>::zeros(panels * blocks * PANEL);
    let pieces = codes.par_chunks_mut(blocks * BLOCK * PANEL).zip(scales.par_chunks_mut(blocks * PANEL));
    pieces.enumerate().for_each(|(panel, (codes, scales))| {
        each_block(panel, (output, input), &get, |column, index, block| {
            scales[index * PANEL + column] = block.scale;
            let places = codes[index * BLOCK * PANEL + column..].iter_mut().step_by(PANEL);
            places.zip(block.codes).for_each(|(place, code)| *place = code);
        });
    });
    Panels::Q8 { codes, scales }
}

fn pack_four_bits(bytes: &[u8], shape: (usize, usize), levels: [i8; 16]) -> Panels {
    let blocks = bytes.as_chunks().0;
    pack_q4(shape, levels, |start, _| four_bits(&blocks[start / BLOCK]))
}

fn pack_q4(
    (output, input): (usize, usize),
    levels: [i8; 16],
    get: impl Fn(usize, usize) -> Quantised + Sync,
) -> Panels {
    const WORDS: usize = BLOCK / GROUP;
    let (panels, blocks) = (output.div_ceil(PANEL), input.div_ceil(BLOCK));
    let mut codes = Aligned::<u32>::zeros(panels * blocks * WORDS * PANEL);
    let mut scales = Aligned::<u16>::zeros(panels * blocks * PANEL);
    let pieces = codes.par_chunks_mut(blocks * WORDS * PANEL).zip(scales.par_chunks_mut(blocks * PANEL));
    pieces.enumerate().for_each(|(panel, (codes, scales))| {
        each_block(panel, (output, input), &get, |column, index, block| {
            scales[index * PANEL + column] = block.scale;
            let places = codes[index * WORDS * PANEL + column..].iter_mut().step_by(PANEL);
            for (place, codes) in places.zip(block.codes.as_chunks::<GROUP>().0) {
                *place = codes.iter().rev().fold(0, |word, code| word << 4 | *code as u32);
            }
        });
    });
    Panels::Q4 { codes, scales, levels }
}
