//! Products: correct, and with the same bits alone and among other rows, in parts, and in every instruction set.

mod numbers;

use kernels::{Isa, Linear};
use numbers::{bits, floats};
use proptest::prelude::*;

fn forward(linear: &Linear, x: &[f32], rows: usize) -> Vec<f32> {
    let mut y = vec![f32::NAN; rows * linear.output()];
    linear.forward(x, &mut y);
    y
}

fn check(rows: usize, (output, input): (usize, usize), has_bias: bool) {
    let (weight, bias, x) = (floats(1, output * input), floats(2, output), floats(3, rows * input));
    let new = || Linear::new(&weight, (output, input), has_bias.then_some(&bias[..]));
    let linear = new();
    let y = forward(&linear, &x, rows);
    for row in 0..rows {
        for column in 0..output {
            let (x, weight) = (&x[row * input..][..input], &weight[column * input..][..input]);
            let start = if has_bias { bias[column] } else { 0.0 };
            let chain = x.iter().zip(weight).fold(start, |sum, (x, weight)| weight.mul_add(*x, sum));
            let products = x.iter().zip(weight).map(|(x, weight)| f64::from(*x) * f64::from(*weight));
            let exact = f64::from(start) + products.sum::<f64>();
            let found = y[row * output + column];
            assert_eq!(
                found.to_bits(),
                chain.to_bits(),
                "{rows}x{output}x{input}: row {row} column {column}"
            );
            assert!((f64::from(found) - exact).abs() < 1e-6 * (input as f64 + 1.0));
        }
    }
    for isa in Isa::available() {
        let other = forward(&new().with_isa(isa), &x, rows);
        assert_eq!(bits(&other), bits(&y), "{} {rows}x{output}x{input}", isa.name());
    }
}

#[test]
fn every_output_is_one_chain_in_every_instruction_set() {
    let shapes = [(1, 1), (31, 7), (32, 64), (33, 65), (100, 513), (300, 1100), (5, 1030)];
    for shape in shapes {
        for rows in [0, 1, 2, 3, 8, 13, 14, 15, 29] {
            check(rows, shape, rows % 2 == 0);
        }
    }
    for rows in [127, 128, 129, 300] {
        check(rows, (70, 520), true);
    }
}

#[test]
fn nothing_in_and_nothing_out() {
    check(3, (5, 0), true);
    check(3, (0, 5), false);
    check(0, (0, 0), false);
}

#[test]
fn a_row_of_the_weight_can_be_read() {
    let weight = floats(4, 70 * 9);
    let linear = Linear::new(&weight, (70, 9), None);
    for index in [0, 31, 32, 69] {
        assert!(linear.weight_row(index).eq(weight[index * 9..][..9].iter().copied()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_row_alone_is_the_row_among_others(
        rows in 1usize..200,
        output in 1usize..150,
        input in 1usize..700,
        chosen in any::<proptest::sample::Index>(),
    ) {
        let weight = floats(5, output * input);
        let linear = Linear::new(&weight, (output, input), None);
        let x = floats(6, rows * input);
        let all = forward(&linear, &x, rows);
        let row = chosen.index(rows);
        let alone = forward(&linear, &x[row * input..][..input], 1);
        prop_assert_eq!(bits(&alone), bits(&all[row * output..][..output]));
        let rest = forward(&linear, &x[row * input..], rows - row);
        prop_assert_eq!(bits(&rest), bits(&all[row * output..]));
    }
}
