//! Activations and normalisations: right, and the same bits in every instruction set and in any company.

use kernels::{Activation, Isa, Norm};

/// Numbers from -12 to 12, unlike each other.
fn floats(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7919) % 24_001) as f32 / 1000.0 - 12.0).collect()
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|float| float.to_bits()).collect()
}

fn exact(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
    }
}

#[test]
fn activations_are_close_to_exact_ones_and_equal_in_every_set() {
    for activation in [Activation::Silu, Activation::GeluTanh] {
        for count in [0, 1, 15, 16, 17, 30_001] {
            let x = floats(count);
            let run = |isa, x: &[f32], factors: Option<&[f32]>| {
                let mut y = vec![f32::NAN; x.len()];
                activation.run(isa, x, factors, &mut y);
                y
            };
            let y = run(Isa::best(), &x, None);
            for (x, y) in x.iter().zip(&y) {
                let error = (f64::from(*y) - exact(activation, f64::from(*x))).abs();
                assert!(error <= 3e-7 * f64::from(x.abs()).max(1.0), "{activation:?} {x}: {error:e}");
            }
            let gated = run(Isa::best(), &x, Some(&x));
            assert!(gated.iter().zip(&y).zip(&x).all(|((gated, y), x)| gated.to_bits() == (y * x).to_bits()));
            for isa in Isa::available() {
                assert_eq!(bits(&run(isa, &x, None)), bits(&y), "{}", isa.name());
                assert_eq!(bits(&run(isa, &x[count / 2..], None)), bits(&y[count / 2..]), "{}", isa.name());
            }
        }
    }
}

#[test]
fn activations_far_out_are_the_number_or_nothing() {
    for activation in [Activation::Silu, Activation::GeluTanh] {
        let mut y = [f32::NAN; 4];
        activation.run(Isa::best(), &[200.0, -200.0, 0.0, f32::NAN], None, &mut y);
        assert!(y[0] == 200.0 && y[1] == 0.0 && y[2] == 0.0 && y[3].is_nan(), "{y:?}");
    }
}

#[test]
fn norms_are_close_to_exact_ones_and_equal_in_every_set() {
    for size in [1, 7, 16, 65, 1000] {
        let (rows, weight, bias) = (23, floats(size), floats(size + 3)[3..].to_vec());
        // A large mean, which must not cost digits.
        let x: Vec<f32> = floats(rows * size).iter().map(|float| float + 50.0).collect();
        for bias in [None, Some(&bias[..])] {
            let norm = Norm { weight: &weight, bias, epsilon: 1e-6 };
            let run = |isa, x: &[f32]| {
                let mut y = vec![f32::NAN; x.len()];
                norm.run(isa, x, &mut y);
                y
            };
            let y = run(Isa::best(), &x);
            for (index, y) in y.iter().enumerate() {
                let row: Vec<f64> = x[index / size * size..][..size].iter().copied().map(f64::from).collect();
                let mean = if bias.is_some() { row.iter().sum::<f64>() / size as f64 } else { 0.0 };
                let square = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / size as f64;
                let column = index % size;
                let wanted = (row[column] - mean) / (square + 1e-6).sqrt() * f64::from(weight[column])
                    + bias.map_or(0.0, |bias| f64::from(bias[column]));
                assert!((f64::from(*y) - wanted).abs() < 1e-4, "{size}: {y} and {wanted}");
            }
            for isa in Isa::available() {
                assert_eq!(bits(&run(isa, &x)), bits(&y), "{}", isa.name());
                assert_eq!(bits(&run(isa, &x[size..2 * size])), bits(&y[size..2 * size]), "{}", isa.name());
            }
        }
    }
}
