//! Weights cut into panels of 32 outputs, in one of the forms in which they are kept.

use rayon::prelude::*;

use crate::{
    aligned::Aligned,
    half::{bf16_to_f32, f16_to_f32},
    micro::PANEL,
    narrow::GROUP,
    quantise::{BLOCK, LEVELS, Quantised, to_q4, to_q8},
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
}

/// The form in which a weight is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// In the type that it is given in: nothing is lost.
    #[default]
    Given,
    /// Eight bits, and a bf16 for each 32 inputs of an output: 8.5 bits a weight.
    Q8,
    /// Four bits at uneven levels, and a bf16 for each 32 inputs of an output: 4.5 bits a weight.
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
    },
}

impl Matrix<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(floats) => floats.len(),
            Self::Bf16(bits) | Self::F16(bits) => bits.len(),
        }
    }

    fn get(&self, index: usize) -> f32 {
        match self {
            Self::F32(floats) => floats[index],
            Self::Bf16(bits) => bf16_to_f32(bits[index]),
            Self::F16(bits) => f16_to_f32(bits[index]),
        }
    }

    /// Up to 32 weights from `start` on, zeros behind them.
    fn block(&self, start: usize, length: usize) -> [f32; BLOCK] {
        std::array::from_fn(|index| if index < length { self.get(start + index) } else { 0.0 })
    }
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
            (Form::Q8, _) => pack_q8(weight, (output, input)),
            (Form::Q4, _) => pack_q4(weight, (output, input)),
        }
    }

    /// The weight of `output` and `input`, as it is multiplied; `inputs` are all there are.
    pub(crate) fn weight(&self, output: usize, (input, inputs): (usize, usize)) -> f32 {
        let (panel, column) = (output / PANEL, output % PANEL);
        let at = |steps: usize, step: usize| (panel * steps + step) * PANEL + column;
        let (groups, blocks) = (inputs.next_multiple_of(GROUP), inputs.div_ceil(BLOCK));
        let scale = |scales: &Aligned<u16>| bf16_to_f32(scales[at(blocks, input / BLOCK)]);
        match self {
            Self::F32(floats) => floats[at(inputs, input)],
            Self::Bf16(bits) => bf16_to_f32(bits[at(groups, input)]),
            Self::F16(bits) => f16_to_f32(bits[at(groups, input)]),
            Self::Q8 { codes, scales } => f32::from(codes[at(blocks * BLOCK, input)]) * scale(scales),
            Self::Q4 { codes, scales } => {
                let code = codes[at(blocks * BLOCK / GROUP, input / GROUP)] >> (4 * (input % GROUP)) & 15;
                f32::from(LEVELS[code as usize]) * scale(scales)
            }
        }
    }

    /// Bytes that are read when every weight is read once.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::F32(floats) => size_of_val(&**floats),
            Self::Bf16(bits) | Self::F16(bits) => size_of_val(&**bits),
            Self::Q8 { codes, scales } => size_of_val(&**codes) + size_of_val(&**scales),
            Self::Q4 { codes, scales } => size_of_val(&**codes) + size_of_val(&**scales),
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

/// Quantises the blocks of all columns of panel `panel` and hands each to `keep` with its column and its place among the
/// blocks of the column.
fn each_block(
    (weight, panel): (Matrix<'_>, usize),
    (output, input): (usize, usize),
    quantise: impl Fn(&[f32; BLOCK]) -> Quantised,
    mut keep: impl FnMut(usize, usize, &Quantised),
) {
    for column in 0..PANEL.min(output - panel * PANEL) {
        let row = (panel * PANEL + column) * input;
        for (index, start) in (0..input).step_by(BLOCK).enumerate() {
            let block = weight.block(row + start, BLOCK.min(input - start));
            keep(column, index, &quantise(&block));
        }
    }
}

fn pack_q8(weight: Matrix<'_>, (output, input): (usize, usize)) -> Panels {
    let (panels, blocks) = (output.div_ceil(PANEL), input.div_ceil(BLOCK));
    let mut codes = Aligned::<i8>::zeros(panels * blocks * BLOCK * PANEL);
    let mut scales = Aligned::<u16>::zeros(panels * blocks * PANEL);
    let pieces = codes.par_chunks_mut(blocks * BLOCK * PANEL).zip(scales.par_chunks_mut(blocks * PANEL));
    pieces.enumerate().for_each(|(panel, (codes, scales))| {
        each_block((weight, panel), (output, input), to_q8, |column, index, block| {
            scales[index * PANEL + column] = block.scale;
            let places = codes[index * BLOCK * PANEL + column..].iter_mut().step_by(PANEL);
            places.zip(block.codes).for_each(|(place, code)| *place = code);
        });
    });
    Panels::Q8 { codes, scales }
}

fn pack_q4(weight: Matrix<'_>, (output, input): (usize, usize)) -> Panels {
    const WORDS: usize = BLOCK / GROUP;
    let (panels, blocks) = (output.div_ceil(PANEL), input.div_ceil(BLOCK));
    let mut codes = Aligned::<u32>::zeros(panels * blocks * WORDS * PANEL);
    let mut scales = Aligned::<u16>::zeros(panels * blocks * PANEL);
    let pieces = codes.par_chunks_mut(blocks * WORDS * PANEL).zip(scales.par_chunks_mut(blocks * PANEL));
    pieces.enumerate().for_each(|(panel, (codes, scales))| {
        each_block((weight, panel), (output, input), to_q4, |column, index, block| {
            scales[index * PANEL + column] = block.scale;
            let places = codes[index * WORDS * PANEL + column..].iter_mut().step_by(PANEL);
            for (place, codes) in places.zip(block.codes.as_chunks::<GROUP>().0) {
                *place = codes.iter().rev().fold(0, |word, code| word << 4 | *code as u32);
            }
        });
    });
    Panels::Q4 { codes, scales }
}
