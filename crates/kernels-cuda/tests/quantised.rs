//! Products of few rows with weights of eight and four bits, compared with their CPU counterpart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod emulated;
mod rounding;

use std::sync::Arc;

use half::bf16;
use kernels::{Form, Matrix};
use kernels_cuda::{
    Activation, Bias, Blocks, Destination, Floats, Gpu, Norm, QuantisedWeights, RoundedRows, Rows,
};
use rounding::{assert_same, assert_same_in_any_company, numbers, outputs_of_several_rounds, rounded};

/// The type of the blocks of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Q8_0,
    Q4_0,
    Iq4Nl,
}

const KINDS: [Kind; 3] = [Kind::Q8_0, Kind::Q4_0, Kind::Iq4Nl];

impl Kind {
    fn blocks(self, weights: &[f32]) -> Vec<u8> {
        match self {
            Self::Q8_0 => kernels::to_q8_0(weights),
            Self::Iq4Nl => kernels::to_iq4_nl(weights),
            // The bytes stand for other weights as Q4_0, which does not matter here.
            Self::Q4_0 => kernels::to_iq4_nl(weights),
        }
    }

    fn on_gpu(self, bytes: &[u8]) -> Blocks<'_> {
        match self {
            Self::Q8_0 => Blocks::Q8_0(bytes),
            Self::Q4_0 => Blocks::Q4_0(bytes),
            Self::Iq4Nl => Blocks::Iq4Nl(bytes),
        }
    }

    fn on_processor(self, bytes: &[u8]) -> Matrix<'_> {
        match self {
            Self::Q8_0 => Matrix::Q8_0(bytes),
            Self::Q4_0 => Matrix::Q4_0(bytes),
            Self::Iq4Nl => Matrix::Iq4Nl(bytes),
        }
    }
}

/// A product and its CPU counterpart.
struct Case {
    gpu: Arc<Gpu>,
    weights: QuantisedWeights,
    linear: kernels::Linear,
    bias: Option<Bias>,
}

fn uploaded(gpu: &Arc<Gpu>, numbers: &[f32], columns: usize) -> Rows {
    Rows::upload(gpu, &rounded(numbers), columns).unwrap()
}

impl Case {
    fn new(kind: Kind, (output, input): (usize, usize), with_bias: bool) -> Self {
        let gpu = emulated::gpu();
        let bytes = kind.blocks(&numbers(output * input, 1));
        let weights = QuantisedWeights::upload(&gpu, kind.on_gpu(&bytes), (output, input)).unwrap();
        let bias = with_bias.then(|| numbers(output, 2));
        let matrix = kind.on_processor(&bytes);
        let linear = kernels::Linear::with_form(matrix, Form::Given, (output, input), bias.as_deref());
        let bias = bias.map(|bias| Bias::upload(&gpu, &bias).unwrap());
        Self { gpu, weights, linear, bias }
    }

    fn multiply(&self, x: &[f32], destination: Destination<'_>) {
        let mut rows = RoundedRows::reserved(&self.gpu, 32).unwrap();
        rows.round(&uploaded(&self.gpu, x, self.linear.input())).unwrap();
        self.multiply_rounded(&rows, destination);
    }

    fn multiply_rounded(&self, rows: &RoundedRows, destination: Destination<'_>) {
        self.weights.multiply(&self.gpu, rows, self.bias.as_ref(), destination).unwrap();
    }

    /// Returns the products in f32.
    fn floats(&self, x: &[f32]) -> Vec<f32> {
        let mut y = Floats::empty(&self.gpu).unwrap();
        self.multiply(x, Destination::Floats(&mut y));
        y.download().unwrap().to_vec()
    }

    /// Returns the products of the CPU, and how far those of the GPU may be from them. Sums within blocks are exact
    /// on both sides, and both add the same scaled block sums, only in another order: each of as many additions as
    /// there are blocks, warps and the bias is off by at most 2^-24 of the sum on either side, and no sum is larger
    /// than that of the magnitudes of all terms. That is bounded by weights times the largest that rounded numbers
    /// may be: half a 127th of their block's largest number more, which is below 1.
    fn wanted(&self, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (input, output) = (self.linear.input(), self.linear.output());
        let mut y = vec![0.0; x.len() / input * output];
        self.linear.forward(x, &mut y);
        let steps = 2.0 * (input / 32 + 8 + 1) as f32 / 16_777_216.0;
        let bound = |x: &[f32], index: usize| -> f32 {
            let size = |(x, weight): (&f32, f32)| (x.abs() + 1.0 / 254.0) * weight.abs();
            steps * (x.iter().zip(self.linear.weight_row(index)).map(size).sum::<f32>() + 1.0)
        };
        let bounds = x.chunks(input).flat_map(|x| (0..output).map(|index| bound(x, index))).collect();
        (y, bounds)
    }
}

#[test]
fn products_are_their_twins_with_any_number_of_inputs_outputs_and_rows() {
    // A single block, parts of a stretch and of a chunk, and more chunks than warps; more outputs than a GPU's blocks
    // compute at a time.
    let many = outputs_of_several_rounds(&emulated::gpu());
    let shapes =
        [(48, 128), (33, 1024), (5, 32), (70, 96), (17, 160), (1, 576), (24, 2208), (20, 4224), (many, 160)];
    for kind in KINDS {
        for (shape, with_bias) in shapes.into_iter().zip([true, false].into_iter().cycle()) {
            let case = Case::new(kind, shape, with_bias);
            assert_eq!(case.weights.shape(), shape);
            for rows in [1, 8, 9, 17, 25, 33, 64] {
                let x = numbers(rows * shape.1, 3);
                let (wanted, bounds) = case.wanted(&x);
                assert_same(&case.floats(&x), &wanted, &bounds);
            }
        }
    }
}

#[test]
fn the_twin_of_eight_and_four_bits_is_what_rounds_weights_itself() {
    let (shape, rows) = ((24, 256), 3);
    let (weights, x) = (numbers(24 * 256, 1), numbers(rows * 256, 3));
    for (kind, form) in [(Kind::Q8_0, Form::Q8), (Kind::Iq4Nl, Form::Q4)] {
        let case = Case::new(kind, shape, false);
        let linear = kernels::Linear::with_form(Matrix::F32(&weights), form, shape, None);
        let mut wanted = vec![0.0; rows * 24];
        linear.forward(&x, &mut wanted);
        assert_eq!(case.wanted(&x).0, wanted);
        assert_same(&case.floats(&x), &wanted, &case.wanted(&x).1);
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_company() {
    let many = outputs_of_several_rounds(&emulated::gpu());
    for kind in KINDS {
        for (output, input) in [(50, 1120), (50, 2208), (many, 160)] {
            let case = Case::new(kind, (output, input), true);
            assert_same_in_any_company((output, input), |x| case.floats(x));
        }
    }
}

#[test]
fn rows_that_are_nothing_or_no_numbers_leave_the_others_alone() {
    let case = Case::new(Kind::Iq4Nl, (20, 256), false);
    let mut x = numbers(11 * 256, 5);
    let before = case.floats(&x);
    x[3 * 256 + 7] = f32::NAN;
    x[4 * 256..5 * 256].fill(0.0);
    x[5 * 256 + 40] = f32::INFINITY;
    let after = case.floats(&x);
    for (row, (before, after)) in before.chunks(20).zip(after.chunks(20)).enumerate() {
        match row {
            3 | 5 => assert!(after.iter().all(|y| !y.is_finite()), "{row}: {after:?}"),
            4 => assert_eq!(after, [0.0; 20]),
            _ => assert_eq!(after, before),
        }
    }
}

#[test]
fn products_are_added_to_what_is_there_or_rounded() {
    for rows in [1, 20, 64] {
        let case = Case::new(Kind::Q8_0, (37, 192), true);
        let (x, residual) = (numbers(rows * 192, 6), numbers(rows * 37, 7));
        let products = case.floats(&x);
        let mut y = uploaded(&case.gpu, &residual, 37);
        case.multiply(&x, Destination::Add(&mut y));
        // One addition in f32, and one rounding.
        let round = |number: f32| bf16::from_f32(number).to_f32();
        let wanted: Vec<f32> =
            residual.iter().zip(&products).map(|(one, other)| round(one + other)).collect();
        assert_eq!(y.download().unwrap(), wanted);
        case.multiply(&x, Destination::Replace(&mut y));
        assert_eq!(y.download().unwrap(), products.into_iter().map(round).collect::<Vec<_>>());
    }
}

#[test]
fn gated_products_have_the_bits_of_products_that_are_gated() {
    let many = outputs_of_several_rounds(&emulated::gpu()).next_multiple_of(16) / 2;
    for kind in KINDS {
        for ((wide, input), with_bias) in [((8, 96), true), ((40, 1120), false), ((many, 64), true)] {
            let case = Case::new(kind, (2 * wide, input), with_bias);
            for rows in [1, 7, 16, 20, 32, 64] {
                let x = numbers(rows * input, 8);
                let [mut products, mut wanted, mut found] = [(); 3].map(|()| Rows::empty(&case.gpu).unwrap());
                case.multiply(&x, Destination::Replace(&mut products));
                Activation::Silu.gate(&products, &mut wanted).unwrap();
                case.multiply(&x, Destination::Gated(&mut found, Activation::Silu));
                assert_eq!(found.shape(), (rows, wide));
                let what = format!("{kind:?}, {rows} rows of {input}, {wide} gates");
                assert_eq!(found.download().unwrap(), wanted.download().unwrap(), "{what}");
            }
        }
    }
}

#[test]
fn weights_become_bf16_again() {
    for kind in KINDS {
        for input in [32, 160, 1152] {
            let case = Case::new(kind, (9, input), false);
            let mut y = Rows::empty(&case.gpu).unwrap();
            for range in [0..9, 4..6, 3..3] {
                case.weights.expand(range.clone(), &mut y).unwrap();
                let wanted: Vec<f32> = range
                    .clone()
                    .flat_map(|row| case.linear.weight_row(row).collect::<Vec<_>>())
                    .map(|weight| bf16::from_f32(weight).to_f32())
                    .collect();
                assert_eq!(y.shape(), (range.len(), input));
                assert_eq!(y.download().unwrap(), wanted);
            }
        }
    }
}

/// Blocks and stretches that end within the columns, more columns than a thread keeps, and rows that have no scale.
#[test]
fn norms_round_their_results_as_the_kernel_for_rounding_does() {
    for input in [32, 96, 160, 1152, 8224] {
        let case = Case::new(Kind::Q8_0, (3, input), false);
        let norm = Norm::new(&case.gpu, &numbers(input, 9), None, 1e-6).unwrap();
        for rows in [1, 5, 64] {
            let mut x = numbers(rows * input, 10);
            x[..32].fill(0.0);
            let x = uploaded(&case.gpu, &x, input);
            let mut rounded = RoundedRows::reserved(&case.gpu, 32).unwrap();
            norm.run_rounded(&x, &mut rounded).unwrap();
            let mut y = Floats::empty(&case.gpu).unwrap();
            case.multiply_rounded(&rounded, Destination::Floats(&mut y));
            let found = y.download().unwrap();
            let mut normed = Rows::empty(&case.gpu).unwrap();
            norm.run(&x, &mut normed).unwrap();
            let normed = normed.download().unwrap();
            assert_eq!(found, case.floats(&normed), "{rows} rows of {input}");
            let (wanted, bounds) = case.wanted(&normed);
            let largest = normed.iter().fold(1.0_f32, |largest, number| largest.max(number.abs()));
            // The bounds are for numbers below 1.
            let bounds: Vec<f32> = bounds.iter().map(|bound| bound * largest).collect();
            assert_same(found, &wanted, &bounds);
        }
    }
}
