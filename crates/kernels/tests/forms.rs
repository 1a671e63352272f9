//! Weights that take less memory: the products are those of the f32 weights that they stand for, to the last bit.

mod numbers;

use kernels::{Form, Isa, Linear, Matrix};
use numbers::{bits, floats};

fn forward(linear: &Linear, x: &[f32], rows: usize) -> Vec<f32> {
    let mut y = vec![f32::NAN; rows * linear.output()];
    linear.forward(x, &mut y);
    y
}

/// A weight as it is given, and how it is to be kept.
struct Kept {
    name: &'static str,
    floats: Vec<f32>,
    words: Vec<u16>,
    form: Form,
}

impl Kept {
    /// Every form of one weight of `count` numbers.
    fn all(count: usize) -> Vec<Self> {
        let floats = floats(1, count);
        let bf16: Vec<u16> = floats.iter().map(|weight| (weight.to_bits() >> 16) as u16).collect();
        // Exponents in the middle of those of f16.
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
    for kept in Kept::all(output * input) {
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
fn products_are_those_of_the_weights_as_f32() {
    for shape in [(1, 1), (31, 7), (32, 64), (33, 65), (100, 130), (70, 513), (300, 96)] {
        check(&[1, 2, 3, 4, 5, 8, 13, 14, 15, 29], shape);
    }
    check(&[300], (70, 1030));
}

#[test]
fn nothing_in_and_nothing_out() {
    for shape in [(0, 5), (5, 0), (0, 0)] {
        check(&[0, 3], shape);
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
    // 1, -2 and the least number above 0.
    let weight = [0x3c00, 0xc000, 0x0001];
    let linear = Linear::with_form(Matrix::F16(&weight), Form::Given, (1, 3), None);
    assert!(linear.weight_row(0).eq([1.0, -2.0, 2f32.powi(-24)]));
}

/// Blocks of GGUF with scales of many sizes and all codes: `bytes` of codes each.
fn blocks(count: usize, bytes: usize) -> Vec<u8> {
    let random = floats(9, count * bytes);
    let block = |index: usize| {
        let scale = (0x0001 + 1999 * index % 0x5000) as u16 | (index as u16 & 1) << 15;
        let codes = random[index * bytes..][..bytes].iter().map(|float| float.to_bits() as u8);
        scale.to_le_bytes().into_iter().chain(codes).collect::<Vec<u8>>()
    };
    (0..count).flat_map(block).collect()
}

/// What an f16 is, for normal numbers and those below them.
fn f16(bits: &[u8]) -> f32 {
    let bits = u16::from_le_bytes([bits[0], bits[1]]);
    let (exponent, digits) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let magnitude =
        if exponent == 0 { digits * 2f32.powi(-24) } else { (1024.0 + digits) * 2f32.powi(exponent - 25) };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// The levels of IQ4_NL.
const LEVELS: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
];

#[test]
fn blocks_of_gguf_are_kept_as_they_are() {
    let (output, input) = (40, 96);
    let count = output * input / 32;
    let (eight, four) = (blocks(count, 32), blocks(count, 16));
    let even = |code: u8| f32::from(code) - 8.0;
    let uneven = |code: u8| LEVELS[usize::from(code)];
    let nibbles = |block: &[u8], level: &dyn Fn(u8) -> f32| -> Vec<f32> {
        let codes = block[2..].iter().map(|byte| byte & 15).chain(block[2..].iter().map(|byte| byte >> 4));
        codes.map(|code| level(code) * f16(block)).collect()
    };
    let wanted_eight =
        eight.chunks(34).flat_map(|block| block[2..].iter().map(|code| f32::from(*code as i8) * f16(block)));
    let cases = [
        (Matrix::Q8_0(&eight), wanted_eight.collect::<Vec<f32>>(), vec![Form::Given, Form::Q8]),
        (
            Matrix::Q4_0(&four),
            four.chunks(18).flat_map(|block| nibbles(block, &even)).collect(),
            vec![Form::Given, Form::Q8, Form::Q4],
        ),
        (
            Matrix::Iq4Nl(&four),
            four.chunks(18).flat_map(|block| nibbles(block, &uneven)).collect(),
            vec![Form::Given, Form::Q8, Form::Q4],
        ),
    ];
    for (matrix, wanted, forms) in cases {
        for form in forms {
            let linear = Linear::with_form(matrix, form, (output, input), None);
            let found: Vec<f32> = (0..output).flat_map(|row| linear.weight_row(row)).collect();
            assert_eq!(bits(&found), bits(&wanted), "{form:?}");
        }
    }
}

#[test]
#[should_panic = "no whole blocks"]
fn blocks_are_whole() {
    Linear::with_form(Matrix::Q8_0(&blocks(3, 32)), Form::Given, (6, 16), None);
}

/// The root of the mean square of errors of outputs, by that of outputs, against products in f64.
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
fn quantised_products_are_close_to_exact_ones() {
    let errors = [Form::Given, Form::Q8, Form::Q4].map(relative_error);
    // Weights spread evenly are the worst for levels that are closer together around 0.
    assert!(errors[0] < 1e-6 && errors[1] < 0.006 && errors[2] < 0.09, "{errors:?}");
}

#[test]
fn forms_take_the_memory_that_they_should() {
    let weights = 64 * 256;
    let bytes: Vec<usize> =
        Kept::all(weights).iter().map(|kept| kept.linear((64, 256)).size_bytes()).collect();
    assert_eq!(bytes, [weights * 2, weights * 2, weights * 17 / 16, weights * 9 / 16, weights * 9 / 16]);
}
