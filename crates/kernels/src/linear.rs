//! A matrix product with a bias.

use crate::{
    aligned::Aligned,
    dots::{self, Codes},
    floats,
    isa::{Isa, Kernel, Simd},
    micro::PANEL,
    narrow::{Bf16, F16},
    panels::{Form, Panels},
    quantise::code,
    rounded::round,
    rows::{Group, pack},
    task::{Outputs, Part},
    weights::Matrix,
};

/// x W^T + b.
///
/// Each output starts at its bias. With float weights, the products with inputs 0, 1, 2 and so on are added in this
/// order. With quantised weights, the rows of x are rounded to eight bits in blocks of 32 inputs, and block by block
/// the exact sum of the integer products, times both scales, is added.
#[derive(Debug)]
pub struct Linear {
    panels: Panels,
    bias: Vec<f32>, // padded to whole panels
    input: usize,
    output: usize,
    isa: Isa,
}

impl Linear {
    /// Packs `weight` `[output, input]` in f32. `shape` is `(output, input)`; without a `bias` `[output]`, the bias
    /// is 0.
    ///
    /// # Panics
    /// If the length of `weight` or `bias` does not match `shape`.
    pub fn new(weight: &[f32], shape: (usize, usize), bias: Option<&[f32]>) -> Self {
        Self::with_form(Matrix::F32(weight), Form::Given, shape, bias)
    }

    /// Packs `weight` `[output, input]` in `form`, which may take less memory. Weights that are quantised should be
    /// finite.
    ///
    /// # Panics
    /// If the length of `weight` or `bias` does not match the shape, or `weight` is given in blocks and `input` is
    /// not a multiple of 32.
    pub fn with_form(
        weight: Matrix<'_>,
        form: Form,
        (output, input): (usize, usize),
        bias: Option<&[f32]>,
    ) -> Self {
        assert_eq!(weight.len(), output * input, "the length of the weight");
        assert!(input.is_multiple_of(weight.block_size()), "{input} inputs are no whole blocks");
        let count = output.div_ceil(PANEL);
        let panels = match weight.len() {
            0 => Panels::F32(Aligned::zeros(0)),
            _ => Panels::new(weight, form, (output, input)),
        };
        let mut padded = vec![0.0; count * PANEL];
        if let Some(bias) = bias {
            assert_eq!(bias.len(), output, "the length of the bias");
            padded[..output].copy_from_slice(bias);
        }
        Self { panels, bias: padded, input, output, isa: Isa::best() }
    }

    /// Uses the instructions of `isa`; the results have the same bits.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// Returns the length of an input row.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Returns the length of an output row.
    pub fn output(&self) -> usize {
        self.output
    }

    /// Returns row `index` of the weight, the `input` weights of output `index`, as they are multiplied.
    ///
    /// # Panics
    /// If `index` is not below the number of outputs.
    pub fn weight_row(&self, index: usize) -> impl Iterator<Item = f32> {
        assert!(index < self.output, "output {index} of {}", self.output);
        (0..self.input).map(move |input| self.panels.weight(index, (input, self.input)))
    }

    /// Returns the size of the packed weight in bytes.
    pub fn size_bytes(&self) -> usize {
        self.panels.size_bytes()
    }

    /// Computes `y` `[rows, output]` from the rows `x` `[rows, input]`.
    ///
    /// # Panics
    /// If `x` and `y` do not have the same number of whole rows.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        if self.output == 0 {
            return assert!(y.is_empty(), "the length of the outputs");
        }
        let rows = y.len() / self.output;
        assert_eq!(y.len(), rows * self.output, "the length of the outputs");
        assert_eq!(x.len(), rows * self.input, "the length of the inputs");
        if self.input == 0 {
            y.chunks_exact_mut(self.output).for_each(|row| row.copy_from_slice(&self.bias[..self.output]));
        } else {
            self.isa.run(Forward { linear: self, x, y });
        }
    }
}

struct Forward<'a> {
    linear: &'a Linear,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        match &self.linear.panels {
            Panels::F32(weights) => {
                let weights = weights.as_chunks().0;
                self.floats::<S>(|part, sums| floats::multiply(simd, weights, part, sums));
            }
            Panels::Bf16(bits) => {
                let bits = bits.as_chunks().0;
                self.floats::<S>(|part, sums| floats::widen((simd, Bf16), bits, part, sums));
            }
            Panels::F16(bits) => {
                let bits = bits.as_chunks().0;
                self.floats::<S>(|part, sums| floats::widen((simd, F16), bits, part, sums));
            }
            Panels::Q8 { codes, scales } => {
                self.dots(simd, Codes::Eight(codes.as_chunks().0.as_chunks().0), scales.as_chunks().0);
            }
            Panels::Q4 { codes, scales, levels } => {
                let codes = Codes::Four(codes.as_chunks().0.as_chunks().0, levels.map(code));
                self.dots(simd, codes, scales.as_chunks().0);
            }
        }
    }
}

impl<'a> Forward<'a> {
    fn floats<S: Simd>(self, multiply: impl Fn(&Part<'_, Group<'_>>, &mut [[f32; PANEL]]) + Sync) {
        let input = self.linear.input;
        let groups = pack(self.x, (input, S::ROWS));
        self.outputs().compute(&groups, (input, S::ROWS), multiply);
    }

    fn dots<S: Simd>(self, simd: S, codes: Codes<'_>, scales: &[[u16; PANEL]]) {
        let input = self.linear.input;
        let groups = round(simd, self.x, (input, S::DOT_ROWS));
        self.outputs().compute(&groups, (input, S::DOT_ROWS), |part, sums| {
            dots::multiply(simd, (codes, scales), part, sums);
        });
    }

    fn outputs(self) -> Outputs<'a> {
        Outputs { bias: self.linear.bias.as_chunks().0, output: self.linear.output, y: self.y }
    }
}
