//! Products of few rows with weights in bf16, compared with their CPU counterpart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod emulated;
mod rounding;

use std::sync::Arc;

use half::bf16;
use kernels_cuda::{Activation, Bf16Weights, Bias, Destination, Floats, Gpu, Rows};
use rounding::{assert_same, assert_same_in_any_company, numbers, outputs_of_several_rounds, rounded};

/// A product and its CPU counterpart.
struct Case {
    gpu: Arc<Gpu>,
    weights: Bf16Weights,
    linear: kernels::Linear,
    bias: Option<Bias>,
}

fn uploaded(gpu: &Arc<Gpu>, numbers: &[f32], columns: usize) -> Rows {
    Rows::upload(gpu, &rounded(numbers), columns).unwrap()
}

impl Case {
    fn new((output, input): (usize, usize), with_bias: bool) -> Self {
        let gpu = emulated::gpu();
        let numbers_of_w = numbers(output * input, 1);
        let weights = Bf16Weights::new(uploaded(&gpu, &numbers_of_w, input));
        assert_eq!(weights.shape(), (output, input));
        let bits: Vec<u16> = rounded(&numbers_of_w).into_iter().map(bf16::to_bits).collect();
        let bias = with_bias.then(|| numbers(output, 2));
        let matrix = kernels::Matrix::Bf16(&bits);
        let linear =
            kernels::Linear::with_form(matrix, kernels::Form::Given, (output, input), bias.as_deref());
        let bias = bias.map(|bias| Bias::upload(&gpu, &bias).unwrap());
        Self { gpu, weights, linear, bias }
    }

    /// Returns the products in f32.
    fn floats(&self, x: &[f32]) -> Vec<f32> {
        let mut y = Floats::empty(&self.gpu).unwrap();
        let x = uploaded(&self.gpu, x, self.linear.input());
        self.weights.multiply(&x, self.bias.as_ref(), Destination::Floats(&mut y)).unwrap();
        assert_eq!(y.shape(), (x.shape().0, self.linear.output()));
        y.download().unwrap().to_vec()
    }

    /// Returns the products in bf16.
    fn rows(&self, x: &[f32]) -> Vec<f32> {
        let mut y = Rows::empty(&self.gpu).unwrap();
        let x = uploaded(&self.gpu, x, self.linear.input());
        self.weights.multiply(&x, self.bias.as_ref(), Destination::Replace(&mut y)).unwrap();
        y.download().unwrap()
    }

    /// Returns the products of the CPU, and for each the sum of the magnitudes of its terms, to which the possible
    /// error is proportional.
    fn wanted(&self, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (input, output) = (self.linear.input(), self.linear.output());
        let mut y = vec![0.0; x.len() / input * output];
        self.linear.forward(x, &mut y);
        let size = |x: &[f32], index: usize| -> f32 {
            x.iter().zip(self.linear.weight_row(index)).map(|(x, weight)| (x * weight).abs()).sum()
        };
        let sizes = x.chunks(input).flat_map(|x| (0..output).map(|index| size(x, index) + 2.0)).collect();
        (y, sizes)
    }
}

/// Returns bounds of errors. Each of `steps` additions on either side is off by at most half a unit in the last
/// place, 2^-24 of the sum, and no sum is larger than that of the magnitudes of all terms. Tensor cores may truncate
/// where a CPU rounds: twice as much.
fn bounds(sizes: &[f32], steps: usize) -> Vec<f32> {
    sizes.iter().map(|size| size * steps as f32 * 3.0 / 16_777_216.0).collect()
}

#[test]
fn products_are_their_twins_with_any_number_of_inputs_outputs_and_rows() {
    // Whole and partial chunks, fewer than there are warps and more; rows aligned to 16 bytes and to 8; more outputs
    // than a GPU's blocks compute at a time.
    let shapes = [
        (48, 128),
        (33, 1024),
        (5, 8),
        (70, 56),
        (16, 144),
        (40, 172),
        (1, 588),
        (24, 2184),
        (9, 2180),
        (17, 4),
        (outputs_of_several_rounds(&emulated::gpu()), 56),
    ];
    for (shape, with_bias) in shapes.into_iter().zip([true, false].into_iter().cycle()) {
        let case = Case::new(shape, with_bias);
        for rows in [1, 8, 9, 17, 25, 33, 64] {
            let x = numbers(rows * shape.1, 3);
            let (wanted, sizes) = case.wanted(&x);
            let bounds = bounds(&sizes, shape.1);
            assert_same(&case.floats(&x), &wanted, &bounds);
            // bf16 has 8 significant bits: half a unit in the last place is at most 2^-8 of the number.
            let bounds: Vec<f32> = bounds
                .iter()
                .zip(&wanted)
                .map(|(bound, wanted)| bound + (wanted.abs() + bound) / 256.0)
                .collect();
            assert_same(&case.rows(&x), &wanted, &bounds);
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_company() {
    let many = outputs_of_several_rounds(&emulated::gpu());
    for (output, input) in [(50, 1288), (50, 172), (many, 136)] {
        let case = Case::new((output, input), true);
        assert_same_in_any_company((output, input), |x| case.floats(x));
    }
}

#[test]
fn a_row_that_is_no_number_leaves_the_others_alone() {
    let case = Case::new((20, 256), false);
    let mut x = numbers(11 * 256, 5);
    let before = case.floats(&x);
    x[3 * 256..4 * 256].fill(f32::NAN);
    let after = case.floats(&x);
    assert!(after[3 * 20..4 * 20].iter().all(|y| y.is_nan()));
    assert_eq!((&after[..3 * 20], &after[4 * 20..]), (&before[..3 * 20], &before[4 * 20..]));
}

#[test]
fn products_are_added_to_what_is_there() {
    for rows in [1, 20, 64] {
        let case = Case::new((37, 192), true);
        let (x, residual) = (numbers(rows * 192, 6), numbers(rows * 37, 7));
        let products = case.floats(&x);
        let mut y = uploaded(&case.gpu, &residual, 37);
        let x = uploaded(&case.gpu, &x, 192);
        case.weights.multiply(&x, case.bias.as_ref(), Destination::Add(&mut y)).unwrap();
        // One addition in f32, and one rounding.
        let wanted: Vec<f32> = rounded(&residual)
            .into_iter()
            .zip(products)
            .map(|(one, other)| bf16::from_f32(one.to_f32() + other).to_f32())
            .collect();
        assert_eq!(y.download().unwrap(), wanted);
    }
}

#[test]
fn gated_products_have_the_bits_of_products_that_are_gated() {
    // One tile of gates, several tiles, and more than a GPU's blocks compute at a time.
    let many = outputs_of_several_rounds(&emulated::gpu()).next_multiple_of(16) / 2;
    for (wide, input) in [(8, 128), (24, 172), (40, 1288), (176, 96), (many, 56)] {
        for (activation, with_bias) in
            [(Activation::Silu, false), (Activation::GeluTanh, true), (Activation::Gelu, false)]
        {
            let case = Case::new((2 * wide, input), with_bias);
            for rows in [1, 7, 16, 20, 32, 64] {
                let x = uploaded(&case.gpu, &numbers(rows * input, 8), input);
                let [mut products, mut wanted, mut found] = [(); 3].map(|()| Rows::empty(&case.gpu).unwrap());
                let bias = case.bias.as_ref();
                case.weights.multiply(&x, bias, Destination::Replace(&mut products)).unwrap();
                activation.gate(&products, &mut wanted).unwrap();
                case.weights.multiply(&x, bias, Destination::Gated(&mut found, activation)).unwrap();
                assert_eq!(found.shape(), (rows, wide));
                let what = format!("{rows} rows of {input}, {wide} gates, {activation:?}");
                assert_eq!(found.download().unwrap(), wanted.download().unwrap(), "{what}");
            }
        }
    }
}

#[test]
fn no_rows_are_no_work() {
    let case = Case::new((38, 192), true);
    assert_eq!(case.rows(&[]), []);
    let (x, mut y) = (uploaded(&case.gpu, &[], 192), Rows::empty(&case.gpu).unwrap());
    let destination = Destination::Gated(&mut y, Activation::Silu);
    case.weights.multiply(&x, case.bias.as_ref(), destination).unwrap();
    assert_eq!(y.shape(), (0, 19));
}
