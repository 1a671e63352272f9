//! Weights that take less memory: 16-bit floats give the same products as equal f32 weights, to the last bit.

mod numbers;

use kernels::{Form, Isa, Linear, Matrix};
use numbers::{bits, floats};

fn forward(linear: &Linear, x: &[f32], rows: usize) -> Vec<f32> {
    let mut y = vec![f32::NAN; rows * linear.output()];
    linear.forward(x, &mut y);
    y
}

/// A weight as it is given, and the form in which it is stored.
struct Kept {
    name: &'static str,
    floats: Vec<f32>,
    words: Vec<u16>,
    form: Form,
}

impl Kept {
    /// Returns every form of one weight of `count` numbers.
    fn all(count: usize) -> Vec<Self> {
        let floats = floats(1, count);
        let bf16: Vec<u16> = floats.iter().map(|weight| (weight.to_bits() >> 16) as u16).collect();
        // Exponents in the middle of the range of f16.
        let f16: Vec<u16> = bf16.iter().map(|bits| bits & 0x8fff | 0x2000).collect();
        [
            ("bf16", &bf16, Form::Given),
            ("f16", &f16, Form::Given),
            ("q8", &vec![], Form::Q8),
            ("q4", &vec![], Form::Q4),
            ("q4 of bf16", &bf16, Form::Q4),
        ]
        .map(|(name, words, form)| Self { name, floats: floats.clone(), words: words.clone(), form })
        .into()
    }

    fn linear(&self, shape: (usize, usize)) -> Linear {
        let matrix = match self.name {
            "bf16" | "q4 of bf16" => Matrix::Bf16(&self.words),
            "f16" => Matrix::F16(&self.words),
            _ => Matrix::F32(&self.floats),
        };
        Linear::with_form(matrix, self.form, shape, Some(&floats(2, shape.0)))
    }
}

fn check(rows: &[usize], (output, input): (usize, usize)) {
    for kept in Kept::all(output * input).into_iter().filter(|kept| kept.form == Form::Given) {
        let (name, linear) = (kept.name, kept.linear((output, input)));
        let weight: Vec<f32> = (0..output).flat_map(|index| linear.weight_row(index)).collect();
        let wide = Linear::new(&weight, (output, input), Some(&floats(2, output)));
        for rows in rows {
            let x = floats(3, rows * input);
            let wanted = forward(&wide, &x, *rows);
            for isa in Isa::available() {
                let found = forward(&kept.linear((output, input)).with_isa(isa), &x, *rows);
                assert_eq!(bits(&found), bits(&wanted), "{name} {} {rows}x{output}x{input}", isa.name());
            }
        }
    }
}

#[test]
fn products_with_16_bits_are_those_of_the_weights_as_f32() {
    for shape in [(1, 1), (31, 7), (32, 64), (33, 65), (100, 130), (70, 513), (300, 96)] {
        check(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 29], shape);
    }
    check(&[300], (70, 1030));
}

#[test]
fn nothing_in_and_nothing_out() {
    for shape in [(0, 5), (5, 0), (0, 0)] {
        for kept in Kept::all(0) {
            for rows in [0, 3] {
                let found = forward(&kept.linear(shape), &floats(3, rows * shape.1), rows);
                assert_eq!(found, floats(2, shape.0).repeat(rows), "{}", kept.name);
            }
        }
    }
}

#[test]
fn weights_of_16_bits_are_kept_as_they_are() {
    let (output, input) = (40, 50);
    let weight: Vec<u16> = (0..output * input).map(|index| (index * 13) as u16).collect();
    let linear = Linear::with_form(Matrix::Bf16(&weight), Form::Given, (output, input), None);
    for row in 0..output {
        let wanted = weight[row * input..][..input].iter().map(|bits| f32::from_bits(u32::from(*bits) << 16));
        assert!(linear.weight_row(row).eq(wanted));
    }
    // 1, -2 and the smallest positive number.
    let weight = [0x3c00, 0xc000, 0x0001];
    let linear = Linear::with_form(Matrix::F16(&weight), Form::Given, (1, 3), None);
    assert!(linear.weight_row(0).eq([1.0, -2.0, 2f32.powi(-24)]));
}

#[test]
fn forms_take_the_memory_that_they_should() {
    let weights = 64 * 256;
    let bytes: Vec<usize> =
        Kept::all(weights).iter().map(|kept| kept.linear((64, 256)).size_bytes()).collect();
    assert_eq!(bytes, [weights * 2, weights * 2, weights * 17 / 16, weights * 9 / 16, weights * 9 / 16]);
}
