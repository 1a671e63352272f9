//! Activations, rotations and normalisations: correct, and with the same bits in every instruction set and beside any
//! other rows.

use kernels::{Activation, Isa, Norm, Rotation, add};

/// Returns varied numbers from -12 to 12.
fn floats(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7919) % 24_001) as f32 / 1000.0 - 12.0).collect()
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|float| float.to_bits()).collect()
}

const ACTIVATIONS: [Activation; 3] = [Activation::Silu, Activation::Gelu, Activation::GeluTanh];

/// The integral of the normal density from 0 to `x`, by its Taylor series, whose terms all have one sign.
fn normal_from_zero(x: f64) -> f64 {
    let (mut sum, mut term) = (0.0, x);
    for index in 1..400 {
        sum += term;
        term *= x * x / f64::from(2 * index + 1);
    }
    sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

fn exact(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => x * (0.5 + normal_from_zero(x)),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
    }
}

fn activate(activation: Activation, isa: Isa, x: &[f32]) -> Vec<f32> {
    let mut y = x.to_vec();
    activation.run(isa, &mut y);
    y
}

#[test]
fn activations_are_close_to_exact_ones_and_equal_in_every_set() {
    for activation in ACTIVATIONS {
        for count in [0, 1, 15, 16, 17, 30_001] {
            let x = floats(count);
            let y = activate(activation, Isa::best(), &x);
            for (x, y) in x.iter().zip(&y) {
                let error = (f64::from(*y) - exact(activation, f64::from(*x))).abs();
                assert!(error <= 3e-7 * f64::from(x.abs()).max(1.0), "{activation:?} {x}: {error:e}");
            }
            for isa in Isa::available() {
                assert_eq!(bits(&activate(activation, isa, &x)), bits(&y), "{}", isa.name());
                let half = activate(activation, isa, &x[count / 2..]);
                assert_eq!(bits(&half), bits(&y[count / 2..]), "{}", isa.name());
            }
        }
    }
}

#[test]
fn a_gate_is_the_activation_times_the_other_half() {
    for (rows, size) in [(0, 5), (1, 1), (3, 17), (2, 9000), (700, 33)] {
        let x = floats(rows * size * 2);
        for (activation, isa) in ACTIVATIONS.into_iter().zip(Isa::available().into_iter().cycle()) {
            let mut y = vec![f32::NAN; rows * size];
            activation.gate(isa, &x, size, &mut y);
            let wanted: Vec<f32> = x
                .chunks_exact(2 * size)
                .flat_map(|row| {
                    let activated = activate(activation, isa, &row[..size]);
                    activated.iter().zip(&row[size..]).map(|(y, factor)| y * factor).collect::<Vec<_>>()
                })
                .collect();
            assert_eq!(bits(&y), bits(&wanted), "{activation:?} {rows}x{size} {}", isa.name());
        }
    }
}

#[test]
fn activations_far_out_are_the_number_or_nothing() {
    for activation in ACTIVATIONS {
        let y = activate(activation, Isa::best(), &[200.0, -200.0, 0.0, f32::NAN]);
        assert!(y[0] == 200.0 && y[1] == 0.0 && y[2] == 0.0 && y[3].is_nan(), "{y:?}");
    }
}

#[test]
fn heads_turn_by_their_rows_angles_and_what_follows_them_stays() {
    for (heads, head_size, size) in [(1, 2, 2), (3, 20, 65), (2, 32, 64), (10, 128, 1536)] {
        let (rows, half) = (40, head_size / 2);
        let x = floats(rows * size);
        let angles = floats(rows * half);
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|angle| (angle.cos(), angle.sin())).unzip();
        let run = |isa, rows: std::ops::Range<usize>| {
            let mut y = x[rows.start * size..rows.end * size].to_vec();
            let own = rows.start * half..rows.end * half;
            let rotation = Rotation { cos: &cos[own.clone()], sin: &sin[own], head_size };
            rotation.run(isa, &mut y, (size, heads));
            y
        };
        let y = run(Isa::best(), 0..rows);
        for (index, y) in y.iter().enumerate() {
            let (row, column) = (index / size, index % size);
            let (head, place) = (column / head_size, column % head_size);
            let at = |place: usize| f64::from(x[row * size + head * head_size + place]);
            let angle = f64::from(angles[row * half + place % half]);
            let wanted = match (head < heads, place < half) {
                (false, _) => f64::from(x[index]),
                (true, true) => at(place) * angle.cos() - at(place + half) * angle.sin(),
                (true, false) => at(place) * angle.cos() + at(place - half) * angle.sin(),
            };
            assert!((f64::from(*y) - wanted).abs() < 5e-6, "{heads}x{head_size} {index}: {y} and {wanted}");
        }
        for isa in Isa::available() {
            assert_eq!(bits(&run(isa, 0..rows)), bits(&y), "{}", isa.name());
            assert_eq!(bits(&run(isa, 7..9)), bits(&y[7 * size..9 * size]), "{}", isa.name());
        }
    }
}

#[test]
fn a_sum_begins_again_where_what_is_added_ends() {
    for (count, times) in [(0, 0), (1, 1), (37, 3), (40_003, 2)] {
        let (x, y) = (floats(count * times), floats(count + 5)[5..].to_vec());
        for isa in Isa::available() {
            let mut sum = x.clone();
            add(isa, &mut sum, &y);
            assert!(sum.iter().enumerate().all(|(index, sum)| *sum == x[index] + y[index % count]));
        }
    }
}

#[test]
fn norms_are_close_to_exact_ones_and_equal_in_every_set() {
    for size in [1, 7, 16, 65, 1000] {
        let (rows, weight, bias) = (23, floats(size), floats(size + 3)[3..].to_vec());
        // A large mean, which must not cost precision.
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
