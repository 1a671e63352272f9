//! Weights cut into panels of 32 outputs, in one of the forms in which they are kept.

use crate::{
    aligned::Aligned,
    half::{bf16_to_f32, f16_to_f32},
    micro::PANEL,
    pack::{GivenEight, GivenFour, ToEight, ToFour, pack_blocks, pack_floats},
    quantise::{BLOCK, EVEN_LEVELS, LEVELS, number},
    rounded::{QUAD, QUADS},
    weights::Matrix,
};

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

/// The panels.
#[derive(Debug)]
pub(crate) enum Panels {
    F32(Aligned<f32>),  // [panels][input][PANEL]
    Bf16(Aligned<u16>), // the same
    F16(Aligned<u16>),  // the same
    Q8 {
        codes: Aligned<u32>,  // [panels][blocks][QUADS][PANEL], as `dots::Eight` has it
        scales: Aligned<u16>, // [panels][blocks][PANEL]
    },
    Q4 {
        codes: Aligned<u32>,  // [panels][blocks][QUADS / 2][PANEL], as `dots::Four` has it
        scales: Aligned<u16>, // [panels][blocks][PANEL]
        levels: [i8; 16],
    },
}

impl Panels {
    /// Packs `weight` `[output, input]`; neither is 0.
    pub(crate) fn new(weight: Matrix<'_>, form: Form, shape: (usize, usize)) -> Self {
        match (form, weight) {
            (Form::Given, Matrix::F32(floats)) => Self::F32(pack_floats(floats, shape)),
            (Form::Given, Matrix::Bf16(bits)) => Self::Bf16(pack_floats(bits, shape)),
            (Form::Given, Matrix::F16(bits)) => Self::F16(pack_floats(bits, shape)),
            (Form::Given | Form::Q8, Matrix::Q8_0(bytes)) => Self::q8(pack_blocks(GivenEight(bytes), shape)),
            (Form::Given | Form::Q8 | Form::Q4, Matrix::Q4_0(bytes)) => {
                Self::q4(pack_blocks(GivenFour(bytes), shape), EVEN_LEVELS)
            }
            (Form::Given | Form::Q8 | Form::Q4, Matrix::Iq4Nl(bytes)) => {
                Self::q4(pack_blocks(GivenFour(bytes), shape), LEVELS)
            }
            (Form::Q8, Matrix::F32(_) | Matrix::Bf16(_) | Matrix::F16(_)) => {
                Self::q8(pack_blocks(ToEight(weight), shape))
            }
            (Form::Q4, Matrix::F32(_) | Matrix::Bf16(_) | Matrix::F16(_) | Matrix::Q8_0(_)) => {
                Self::q4(pack_blocks(ToFour(weight), shape), LEVELS)
            }
        }
    }

    fn q8((codes, scales): (Aligned<u32>, Aligned<u16>)) -> Self {
        Self::Q8 { codes, scales }
    }

    fn q4((codes, scales): (Aligned<u32>, Aligned<u16>), levels: [i8; 16]) -> Self {
        Self::Q4 { codes, scales, levels }
    }

    /// The weight of `output` and `input`; `inputs` are all there are.
    pub(crate) fn weight(&self, output: usize, (input, inputs): (usize, usize)) -> f32 {
        let (panel, column) = (output / PANEL, output % PANEL);
        let at = |steps: usize, step: usize| (panel * steps + step) * PANEL + column;
        let blocks = inputs.div_ceil(BLOCK);
        let scale = |scales: &Aligned<u16>| f16_to_f32(scales[at(blocks, input / BLOCK)]);
        // The byte of an input in its word.
        let byte = |word: u32| word.to_le_bytes()[input % QUAD];
        match self {
            Self::F32(floats) => floats[at(inputs, input)],
            Self::Bf16(bits) => bf16_to_f32(bits[at(inputs, input)]),
            Self::F16(bits) => f16_to_f32(bits[at(inputs, input)]),
            Self::Q8 { codes, scales } => {
                f32::from(number(byte(codes[at(blocks * QUADS, input / QUAD)]))) * scale(scales)
            }
            Self::Q4 { codes, scales, levels } => {
                let pair = byte(codes[at(blocks * QUADS / 2, input / (2 * QUAD))]);
                let code = pair >> (input / QUAD % 2 * 4) & 15;
                f32::from(levels[usize::from(code)]) * scale(scales)
            }
        }
    }

    /// Bytes that are read when every weight is read once.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::F32(floats) => size_of_val(&**floats),
            Self::Bf16(bits) | Self::F16(bits) => size_of_val(&**bits),
            Self::Q8 { codes, scales } | Self::Q4 { codes, scales, .. } => {
                size_of_val(&**codes) + size_of_val(&**scales)
            }
        }
    }
}
