//! Quantised weights: each product is one chain over exact sums of blocks, with the same bits beside any other rows.

mod numbers;

use kernels::{Form, Isa, Linear, Matrix};
use numbers::{bits, floats};
use proptest::prelude::*;

fn forward(linear: &Linear, x: &[f32], rows: usize) -> Vec<f32> {
    let mut y = vec![f32::NAN; rows * linear.output()];
    linear.forward(x, &mut y);
    y
}

/// Returns `count` GGUF blocks with scales of many sizes and arbitrary codes, `bytes` bytes of codes each.
fn blocks(count: usize, bytes: usize) -> Vec<u8> {
    let random = floats(9, count * bytes);
    let block = |index: usize| {
        let scale = (0x0001 + 1999 * index % 0x5000) as u16 | (index as u16 & 1) << 15;
        let codes = random[index * bytes..][..bytes].iter().map(|float| float.to_bits() as u8);
        scale.to_le_bytes().into_iter().chain(codes).collect::<Vec<u8>>()
    };
    (0..count).flat_map(block).collect()
}

/// Converts an f16, normal or subnormal.
fn f16(bits: &[u8]) -> f32 {
    let bits = u16::from_le_bytes([bits[0], bits[1]]);
    let (exponent, digits) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let magnitude =
        if exponent == 0 { digits * 2f32.powi(-24) } else { (1024.0 + digits) * 2f32.powi(exponent - 25) };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// The levels of IQ4_NL.
const LEVELS: [i32; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// A block of 32 weights: integers and their scale.
type Block = (Vec<i32>, f32);

/// Reads blocks of Q8_0.
fn eight_bits(bytes: &[u8]) -> Vec<Block> {
    let block = |block: &[u8]| (block[2..].iter().map(|code| i32::from(*code as i8)).collect(), f16(block));
    bytes.chunks(34).map(block).collect()
}

/// Reads blocks whose codes are indices of `levels`.
fn four_bits(bytes: &[u8], levels: [i32; 16]) -> Vec<Block> {
    let block = |block: &[u8]| {
        let codes = block[2..].iter().map(|byte| byte & 15).chain(block[2..].iter().map(|byte| byte >> 4));
        (codes.map(|code| levels[usize::from(code)]).collect(), f16(block))
    };
    bytes.chunks(18).map(block).collect()
}

/// Computes an output as one chain, block by block.
fn chain(x: &[f32], weights: &[Block], bias: f32) -> f32 {
    x.chunks(32).zip(weights).fold(bias, |sum, (x, (codes, weight_scale))| {
        let largest = x.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
        let numbers = x.iter().map(|x| (x * (127.0 / largest)).round_ties_even() as i32);
        let dot: i32 = numbers.zip(codes).map(|(number, code)| number * code).sum();
        (dot as f32).mul_add(weight_scale * (largest / 127.0), sum)
    })
}

/// Calls `check` with blocks of each of the three types, their weights, and the forms that keep them as they are.
fn each_kind(count: usize, check: impl Fn(Matrix<'_>, &[Block], &[Form])) {
    let (eight, four) = (blocks(count, 32), blocks(count, 16));
    check(Matrix::Q8_0(&eight), &eight_bits(&eight), &[Form::Given, Form::Q8]);
    let even = std::array::from_fn(|index| index as i32 - 8);
    check(Matrix::Q4_0(&four), &four_bits(&four, even), &[Form::Given, Form::Q8, Form::Q4]);
    check(Matrix::Iq4Nl(&four), &four_bits(&four, LEVELS), &[Form::Given, Form::Q8, Form::Q4]);
}

#[test]
fn blocks_of_gguf_are_kept_as_they_are() {
    let shape = (40, 96);
    each_kind(40 * 3, |matrix, blocks, forms| {
        let weight =
            |(codes, scale): &Block| codes.iter().map(|code| *code as f32 * scale).collect::<Vec<_>>();
        let wanted: Vec<f32> = blocks.iter().flat_map(weight).collect();
        for form in forms {
            let linear = Linear::with_form(matrix, *form, shape, None);
            let found: Vec<f32> = (0..shape.0).flat_map(|row| linear.weight_row(row)).collect();
            assert_eq!(bits(&found), bits(&wanted), "{matrix:?} {form:?}");
        }
    });
}

#[test]
#[should_panic = "no whole blocks"]
fn blocks_are_whole() {
    Linear::with_form(Matrix::Q8_0(&blocks(3, 32)), Form::Given, (6, 16), None);
}

#[test]
fn every_output_is_one_chain_over_blocks_in_every_instruction_set() {
    for (output, input) in [(1, 32), (33, 64), (100, 320), (40, 1056), (300, 96)] {
        let (bias, per_row) = (floats(2, output), input / 32);
        each_kind(output * per_row, |matrix, blocks, _| {
            let new = || Linear::with_form(matrix, Form::Given, (output, input), Some(&bias));
            for rows in [1, 2, 3, 4, 5, 6, 7, 13, 29] {
                let x = floats(3, rows * input);
                let wanted = x.chunks(input).flat_map(|x| {
                    let weights = blocks.chunks(per_row).zip(&bias);
                    weights.map(move |(weights, bias)| chain(x, weights, *bias))
                });
                let wanted: Vec<f32> = wanted.collect();
                for isa in Isa::available() {
                    let found = forward(&new().with_isa(isa), &x, rows);
                    assert_eq!(bits(&found), bits(&wanted), "{} {rows}x{output}x{input}", isa.name());
                }
            }
        });
    }
}

#[test]
fn any_number_of_inputs_will_do_in_every_instruction_set() {
    for (output, input) in [(1, 1), (31, 7), (33, 65), (70, 513), (70, 1030)] {
        let (weight, bias) = (floats(1, output * input), floats(2, output));
        for form in [Form::Q8, Form::Q4] {
            let new = || Linear::with_form(Matrix::F32(&weight), form, (output, input), Some(&bias));
            let linear = new();
            let kept: Vec<Vec<f32>> = (0..output).map(|row| linear.weight_row(row).collect()).collect();
            for rows in [1, 5, 12, 300] {
                let x = floats(3, rows * input);
                let y = forward(&linear, &x, rows);
                for (index, y) in y.iter().enumerate() {
                    let (x, column) = (&x[index / output * input..][..input], index % output);
                    let products = x.iter().zip(&kept[column]).map(|(x, w)| f64::from(*x) * f64::from(*w));
                    let exact = f64::from(bias[column]) + products.sum::<f64>();
                    // No input is off by more than 1/254 of the largest one, which is at most 1.
                    let bound: f64 = kept[column].iter().map(|weight| f64::from(weight.abs()) / 253.0).sum();
                    assert!(
                        (f64::from(*y) - exact).abs() <= bound + 1e-5,
                        "{form:?} {rows}x{output}x{input}"
                    );
                }
                for isa in Isa::available() {
                    let found = forward(&new().with_isa(isa), &x, rows);
                    assert_eq!(bits(&found), bits(&y), "{form:?} {} {rows}x{output}x{input}", isa.name());
                }
            }
        }
    }
}

/// Returns the RMS error of the outputs divided by their RMS, in comparison with products in f64.
fn relative_error(form: Form) -> f64 {
    let (output, input, rows) = (64, 512, 5);
    let (weight, x) = (floats(7, output * input), floats(8, rows * input));
    let y = forward(&Linear::with_form(Matrix::F32(&weight), form, (output, input), None), &x, rows);
    let (mut errors, mut squares) = (0.0, 0.0);
    for (index, y) in y.iter().enumerate() {
        let (x, weight) = (&x[index / output * input..][..input], &weight[index % output * input..][..input]);
        let exact: f64 = x.iter().zip(weight).map(|(x, weight)| f64::from(*x) * f64::from(*weight)).sum();
        errors += (f64::from(*y) - exact).powi(2);
        squares += exact.powi(2);
    }
    (errors / squares).sqrt()
}

#[test]
fn products_are_close_to_exact_ones() {
    let errors = [Form::Given, Form::Q8, Form::Q4].map(relative_error);
    // Uniformly distributed weights are the worst case for levels that lie closer together around 0.
    assert!(errors[0] < 1e-6 && errors[1] < 0.007 && errors[2] < 0.09, "{errors:?}");
}

#[test]
fn what_is_no_number_comes_out_as_none() {
    let weight = floats(1, 40 * 64);
    for form in [Form::Q8, Form::Q4] {
        let linear = Linear::with_form(Matrix::F32(&weight), form, (40, 64), None);
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = floats(3, 3 * 64);
            x[64 + 5] = odd;
            let y = forward(&linear, &x, 3);
            assert!(y[40..80].iter().all(|y| !y.is_finite()), "{form:?} {odd}");
            assert!(y[..40].iter().chain(&y[80..]).all(|y| y.is_finite()), "{form:?} {odd}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_row_alone_is_the_row_among_others(
        rows in 1usize..200,
        output in 1usize..150,
        input in 1usize..700,
        form in prop::sample::select(vec![Form::Q8, Form::Q4]),
        chosen in any::<prop::sample::Index>(),
    ) {
        let weight = floats(5, output * input);
        let linear = Linear::with_form(Matrix::F32(&weight), form, (output, input), None);
        let x = floats(6, rows * input);
        let all = forward(&linear, &x, rows);
        let row = chosen.index(rows);
        let alone = forward(&linear, &x[row * input..][..input], 1);
        prop_assert_eq!(bits(&alone), bits(&all[row * output..][..output]));
        let rest = forward(&linear, &x[row * input..], rows - row);
        prop_assert_eq!(bits(&rest), bits(&all[row * output..]));
    }
}
