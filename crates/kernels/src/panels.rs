//! Weights split into panels of 32 outputs, in one of the forms in which they are stored.

use crate::{
    aligned::Aligned,
    half::{bf16_to_f32, f16_to_f32},
    micro::PANEL,
    pack::{GivenEight, GivenFour, ToEight, ToFour, pack_blocks, pack_floats},
    quantise::{BLOCK, EVEN_LEVELS, LEVELS, number},
    rounded::{QUAD, QUADS},
    weights::Matrix,
};

/// The form in which a weight is stored. A weight that is given in as few bits or fewer is stored as it is, whatever
/// the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// The type in which the weight is given, without loss.
    #[default]
    Given,
    /// Eight bits a weight and an f16 scale for each 32 inputs of an output: 8.5 bits a weight in total.
    Q8,
    /// Four bits a weight, at uneven levels, and an f16 scale for each 32 inputs of an output: 4.5 bits a weight in
    /// total.
    Q4,
}

/// The panels of a weight in one of the forms.
#[derive(Debug)]
pub(crate) enum Panels {
    F32(Aligned<f32>),  // [panels][input][PANEL]
    Bf16(Aligned<u16>), // [panels][input][PANEL]
    F16(Aligned<u16>),  // [panels][input][PANEL]
    Q8 {
        codes: Aligned<u32>,  // [panels][blocks][QUADS][PANEL], in the layout of `dots::Eight`
        scales: Aligned<u16>, // [panels][blocks][PANEL]
    },
    Q4 {
        codes: Aligned<u32>,  // [panels][blocks][QUADS / 2][PANEL], in the layout of `dots::Four`
        scales: Aligned<u16>, // [panels][blocks][PANEL]
        levels: [i8; 16],
    },
}

impl Panels {
    /// Packs `weight` `[output, input]`; neither dimension is 0.
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

    /// Returns the weight of `output` and `input`. `inputs` is the total number of inputs.
    pub(crate) fn weight(&self, output: usize, (input, inputs): (usize, usize)) -> f32 {
        let (panel, column) = (output / PANEL, output % PANEL);
        let at = |steps: usize, step: usize| (panel * steps + step) * PANEL + column;
        let blocks = inputs.div_ceil(BLOCK);
        let scale = |scales: &Aligned<u16>| f16_to_f32(scales[at(blocks, input / BLOCK)]);
        // Returns the byte of the input in its word.
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

    /// Returns the size of the panels in bytes: what is read when every weight is read once.
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
