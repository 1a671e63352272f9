//! Products of many rows, by cuBLASLt, are those of few rows, by our own kernels, up to rounding.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod emulated;

use std::sync::Arc;

use half::bf16;
use kernels_cuda::{
    Activation, Blocks, CodeBits, Draw, FEW_QUANTISED_ROWS, FEW_ROWS, Gpu, Linear, Norm, Normed, Output,
    QuantisedWeights, Rows, Weight,
};

/// Rows of a product that is computed by the library, whatever the weights are.
const MANY_ROWS: usize = FEW_QUANTISED_ROWS + 9;

/// Returns pseudo-random numbers between -1 and 1.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn narrow(numbers: &[f32]) -> Vec<bf16> {
    numbers.iter().copied().map(bf16::from_f32).collect()
}

fn uploaded(gpu: &Arc<Gpu>, numbers: &[f32], columns: usize) -> Rows {
    Rows::upload(gpu, &narrow(numbers), columns).unwrap()
}

/// Returns `y` after `linear` has processed all rows of `x` at once, and after it has processed so few at a time that
/// our own kernels are used.
fn both_ways(gpu: &Arc<Gpu>, linear: &Linear, (x, y): (&[f32], &[f32]), output: Output) -> [Vec<f32>; 2] {
    let (outputs, inputs) = linear.shape();
    let rows = x.len() / inputs;
    [rows, FEW_ROWS / 2].map(|at_once| {
        x.chunks(at_once * inputs)
            .zip(y.chunks(at_once * outputs))
            .flat_map(|(x, y)| {
                let mut y = uploaded(gpu, y, outputs);
                linear.forward(&uploaded(gpu, x, inputs), &mut y, output).unwrap();
                y.download().unwrap()
            })
            .collect()
    })
}

/// Checks that each number differs by no more than `part` of the largest one.
fn assert_near(what: &str, [many, few]: &[Vec<f32>; 2], part: f32) {
    let largest = few.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    assert!(largest > 0.0 && many.len() == few.len(), "{what}");
    for (index, (many, few)) in many.iter().zip(few).enumerate() {
        assert!((many - few).abs() <= part * largest, "{what}, number {index}: {many} and {few}");
    }
}

#[test]
fn products_of_many_rows_are_those_of_few() {
    let gpu = emulated::gpu();
    let (rows, outputs, inputs) = (MANY_ROWS, 48, 96);
    let (weights, bias) = (numbers(outputs * inputs, 1), numbers(outputs, 2));
    let (x, y) = (numbers(rows * inputs, 3), numbers(rows * outputs, 4));
    let (q8, q4) = (kernels::to_q8_0(&weights), kernels::to_iq4_nl(&weights));
    let wide = narrow(&weights);
    // bf16 sums differ in their order alone. With quantised weights, few rows are rounded to eight bits, and for many
    // rows the weights are rounded to bf16.
    let forms = [
        ("bf16", Weight::Bf16(&wide), 0.01),
        ("q8", Weight::Blocks(Blocks::Q8_0(&q8)), 0.03),
        ("q4", Weight::Blocks(Blocks::Iq4Nl(&q4)), 0.03),
    ];
    for (name, weight, part) in forms {
        for bias in [None, Some(&bias[..])] {
            let linear = Linear::new(&gpu, weight, (outputs, inputs), bias).unwrap();
            let plain = both_ways(&gpu, &linear, (&x, &y), Output::Replace);
            for output in [Output::Replace, Output::Add, Output::GeluTanh] {
                let what = format!("{name}, bias {}, {output:?}", bias.is_some());
                let found = both_ways(&gpu, &linear, (&x, &y), output);
                assert_near(&what, &found, part);
                // Both are also compared with what `output` makes of the plain product.
                let wanted: Vec<f32> = match output {
                    Output::Replace => plain[1].clone(),
                    Output::Add => {
                        plain[1].iter().zip(&narrow(&y)).map(|(sum, y)| sum + y.to_f32()).collect()
                    }
                    Output::GeluTanh => {
                        let mut rows = uploaded(&gpu, &plain[1], outputs);
                        Activation::GeluTanh.run(&mut rows).unwrap();
                        rows.download().unwrap()
                    }
                };
                assert_near(&what, &[found[0].clone(), wanted], part);
            }
        }
    }
}

/// Few rows are gated in the kernel of the product, many by a separate kernel.
#[test]
fn gates_of_many_rows_are_those_of_few() {
    let gpu = emulated::gpu();
    let (rows, wide, inputs) = (MANY_ROWS, 24, 96);
    let (weights, x) = (numbers(2 * wide * inputs, 8), numbers(rows * inputs, 9));
    let (q8, bf16) = (kernels::to_q8_0(&weights), narrow(&weights));
    let forms = [("bf16", Weight::Bf16(&bf16), 0.02), ("q8", Weight::Blocks(Blocks::Q8_0(&q8)), 0.05)];
    for (name, weight, part) in forms {
        let linear = Linear::new(&gpu, weight, (2 * wide, inputs), None).unwrap();
        let gated = |rows_at_once: usize| -> Vec<f32> {
            let gate = |x: &[f32]| {
                let (mut products, mut y) = (Rows::empty(&gpu).unwrap(), Rows::empty(&gpu).unwrap());
                let x = uploaded(&gpu, x, inputs);
                linear.gated(&x, Activation::Silu, (&mut products, &mut y)).unwrap();
                assert_eq!(y.shape(), (x.shape().0, wide));
                y.download().unwrap()
            };
            x.chunks(rows_at_once * inputs).flat_map(gate).collect()
        };
        let found = [gated(rows), gated(20)];
        assert_near(name, &found, part);
        // The result is also compared with gates of the plain products.
        let plain = both_ways(&gpu, &linear, (&x, &vec![0.0; rows * 2 * wide]), Output::Replace);
        let silu = |x: f32| x / (1.0 + (-x).exp());
        let wanted = plain[1].chunks(2 * wide).flat_map(|products| {
            let (gates, factors) = products.split_at(wide);
            gates.iter().zip(factors).map(move |(gate, factor)| silu(*gate) * factor)
        });
        assert_near(name, &[found[1].clone(), wanted.collect()], 0.02);
    }
}

/// More weights than are expanded at a time: the pieces compute adjacent outputs.
#[test]
fn weights_are_expanded_piece_by_piece() {
    let gpu = emulated::gpu();
    let (rows, outputs, inputs) = (FEW_QUANTISED_ROWS + 1, (64 << 20) / 1024 + 80, 1024);
    let (weights, bias) = (numbers(outputs * inputs, 5), numbers(outputs, 6));
    let blocks = kernels::to_q8_0(&weights);
    let linear =
        Linear::new(&gpu, Weight::Blocks(Blocks::Q8_0(&blocks)), (outputs, inputs), Some(&bias)).unwrap();
    let x = numbers(rows * inputs, 7);
    let mut many = Rows::empty(&gpu).unwrap();
    linear.forward(&uploaded(&gpu, &x, inputs), &mut many, Output::Replace).unwrap();
    let many = many.download().unwrap();
    let last = &x[(rows - 1) * inputs..];
    let few = linear.floats(&uploaded(&gpu, last, inputs)).unwrap().remove(0);
    assert_near("the last row", &[many[(rows - 1) * outputs..].to_vec(), few], 0.03);
}

/// Up to twice as many rows as our own kernels multiply at once, where these read quantised weights twice.
#[test]
fn rows_of_quantised_products_have_the_same_bits_in_parts() {
    let gpu = emulated::gpu();
    let (outputs, inputs) = (48, 96);
    let (weights, bias) = (numbers(outputs * inputs, 1), numbers(outputs, 2));
    let blocks = kernels::to_q8_0(&weights);
    let weight = Weight::Blocks(Blocks::Q8_0(&blocks));
    let linear = Linear::new(&gpu, weight, (outputs, inputs), Some(&bias)).unwrap();
    let gated = |x: &[f32]| {
        let (mut products, mut y) = (Rows::empty(&gpu).unwrap(), Rows::empty(&gpu).unwrap());
        let x = uploaded(&gpu, x, inputs);
        linear.gated(&x, Activation::Silu, (&mut products, &mut y)).unwrap();
        y.download().unwrap()
    };
    for rows in [FEW_ROWS + 1, 100, FEW_QUANTISED_ROWS] {
        let (x, y) = (numbers(rows * inputs, 3), numbers(rows * outputs, 4));
        for output in [Output::Replace, Output::Add, Output::GeluTanh] {
            let [whole, parts] = both_ways(&gpu, &linear, (&x, &y), output);
            assert_eq!(whole, parts, "{rows} rows, {output:?}");
        }
        let parts: Vec<f32> = x.chunks(FEW_ROWS / 2 * inputs).flat_map(gated).collect();
        assert_eq!(gated(&x), parts, "{rows} gated rows");
    }
}

#[test]
fn products_of_rows_that_are_normalised_first_have_the_bits_of_two_calls() {
    let gpu = emulated::gpu();
    let (outputs, inputs) = (48, 96);
    let weights = numbers(outputs * inputs, 1);
    let (q8, wide) = (kernels::to_q8_0(&weights), narrow(&weights));
    let norm = Norm::new(&gpu, &numbers(inputs, 5), None, 1e-6).unwrap();
    for weight in [Weight::Bf16(&wide), Weight::Blocks(Blocks::Q8_0(&q8))] {
        let linear = Linear::new(&gpu, weight, (outputs, inputs), None).unwrap();
        for rows in [1, FEW_ROWS, FEW_ROWS + 1, MANY_ROWS] {
            let x = uploaded(&gpu, &numbers(rows * inputs, 6), inputs);
            let [mut normed, mut products, mut found, mut wanted] =
                [(); 4].map(|()| Rows::empty(&gpu).unwrap());
            let what = format!("{:?}, {rows} rows", std::mem::discriminant(&weight));
            let before = Normed { norm: &norm, x: &x, normed: &mut normed };
            linear.forward_normed(before, &mut found).unwrap();
            norm.run(&x, &mut normed).unwrap();
            linear.forward(&normed, &mut wanted, Output::Replace).unwrap();
            assert_eq!(found.download().unwrap(), wanted.download().unwrap(), "{what}");

            let written = (&mut products, &mut found);
            let before = Normed { norm: &norm, x: &x, normed: &mut normed };
            linear.gated_normed(before, Activation::Silu, written).unwrap();
            norm.run(&x, &mut normed).unwrap();
            linear.gated(&normed, Activation::Silu, (&mut products, &mut wanted)).unwrap();
            assert_eq!(found.download().unwrap(), wanted.download().unwrap(), "{what}, gated");
        }
    }
}

/// Computes something of all rows of `x` at once.
type Compute = fn(&Arc<Gpu>, &Linear, &[f32]) -> Vec<f32>;

/// The products of a 7B and a 72B critic's layers. An emulated GPU is too slow for them.
#[test]
fn products_of_the_sizes_of_real_layers_are_those_of_the_library() {
    const LAYERS: [(usize, usize); 9] = [
        (4608, 3584),
        (3584, 3584),
        (37_888, 3584),
        (3584, 18_944),
        (152_064, 3584),
        (10_240, 8192),
        (8192, 8192),
        (59_136, 8192),
        (8192, 29_568),
    ];
    let is_real = std::env::var_os("GAVEL_REAL_GPU").is_some();
    let layers: &[(usize, usize)] = if is_real { &LAYERS } else { &[(400, 352)] };
    let gpu = emulated::gpu();
    for shape in layers {
        let x = numbers(MANY_ROWS * shape.1, 3);
        for (bits, part) in [(None, 0.01), (Some(CodeBits::Eight), 0.03), (Some(CodeBits::Four), 0.03)] {
            let linear = drawn(&gpu, bits, *shape);
            let ways: [(Compute, f32); 2] = [(multiplied, part), (gated, 2.0 * part)];
            for (compute, part) in ways {
                let many = compute(&gpu, &linear, &x);
                for rows in [1, 9, 17, 25, FEW_ROWS] {
                    let few = compute(&gpu, &linear, &x[..rows * shape.1]);
                    let what = format!("{shape:?}, {bits:?}, {rows} rows, give or take {part}");
                    assert_near(&what, &[many[..few.len()].to_vec(), few], part);
                }
            }
        }
    }
}

/// Returns a product with random weights, in bf16 or of so many bits.
fn drawn(gpu: &Arc<Gpu>, bits: Option<CodeBits>, shape: (usize, usize)) -> Linear {
    let draw = Draw { key: 1, centre: 0.0, spread: 0.02 };
    if let Some(bits) = bits {
        let weights = QuantisedWeights::drawn(gpu, draw, bits, shape).unwrap();
        return Linear::of_blocks(gpu, weights, None).unwrap();
    }
    let mut rows = Rows::empty(gpu).unwrap();
    rows.room(shape).unwrap();
    draw.fill(&mut rows, 0..shape.0, 0).unwrap();
    Linear::of_rows(gpu, rows, None).unwrap()
}

/// Returns the products of all rows of `x` at once.
fn multiplied(gpu: &Arc<Gpu>, linear: &Linear, x: &[f32]) -> Vec<f32> {
    let mut y = Rows::empty(gpu).unwrap();
    linear.forward(&uploaded(gpu, x, linear.shape().1), &mut y, Output::Replace).unwrap();
    y.download().unwrap()
}

/// Returns the gated products of all rows of `x` at once.
fn gated(gpu: &Arc<Gpu>, linear: &Linear, x: &[f32]) -> Vec<f32> {
    let (mut products, mut y) = (Rows::empty(gpu).unwrap(), Rows::empty(gpu).unwrap());
    let x = uploaded(gpu, x, linear.shape().1);
    linear.gated(&x, Activation::Silu, (&mut products, &mut y)).unwrap();
    y.download().unwrap()
}
