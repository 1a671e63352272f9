//! Norms, gates and rounding.

use kernels_cuda::{Activation, Norm, RoundedRows};

use super::{Bench, Cost, Images, Model};

/// Times what a decoder does with rows apart from products and attention.
pub(super) fn of_decoder(bench: &mut Bench, model: &Model) {
    let norm = Norm::new(&bench.gpu, &vec![1.0; model.hidden], None, 1e-6).unwrap();
    let chunk = bench.extent.chunk;
    for rows in bench.extent.few_rows.iter().copied().chain([chunk]) {
        let (x, mut y) = (bench.random(rows, model.hidden), bench.empty());
        let name = format!("{} rms_norm, {rows} rows", model.name);
        bench.time(name, &moved(2 * rows * model.hidden), |_| norm.run(&x, &mut y));
    }
    for rows in bench.extent.few_rows {
        let x = bench.random(*rows, model.hidden);
        let mut rounded = RoundedRows::reserved(&bench.gpu, model.hidden).unwrap();
        let name = format!("{} rms_norm_rounded, {rows} rows", model.name);
        let cost = Cost { bytes: (3 * rows * model.hidden) as f64, operations: 0.0 };
        bench.time(name, &cost, |_| norm.run_rounded(&x, &mut rounded));
        for columns in [model.hidden, model.intermediate] {
            let x = bench.random(*rows, columns);
            let mut rounded = RoundedRows::reserved(&bench.gpu, columns).unwrap();
            let name = format!("{} round_rows, {rows} rows of {columns}", model.name);
            let cost = Cost { bytes: (3 * rows * columns) as f64, operations: 0.0 };
            bench.time(name, &cost, |_| rounded.round(&x));
        }
    }
    let (x, mut y) = (bench.random(chunk, 2 * model.intermediate), bench.empty());
    let name = format!("{} gate, {chunk} rows", model.name);
    bench.time(name, &moved(3 * chunk * model.intermediate), |_| Activation::Silu.gate(&x, &mut y));
}

/// Times what a vision tower does with rows apart from products and attention.
pub(super) fn of_tower(bench: &mut Bench) {
    let Images { tiles, patches, heads, head_size } = bench.extent.images;
    let (rows, columns) = (tiles * patches, heads * head_size);
    let (ones, zeros) = (vec![1.0; columns], vec![0.0; columns]);
    let norm = Norm::new(&bench.gpu, &ones, Some(&zeros), 1e-6).unwrap();
    let (x, mut y) = (bench.random(rows, columns), bench.empty());
    bench.time(format!("layer_norm, {rows} rows"), &moved(2 * rows * columns), |_| norm.run(&x, &mut y));
}

/// Returns the cost of reading and writing `numbers` numbers.
fn moved(numbers: usize) -> Cost {
    Cost { bytes: (2 * numbers) as f64, operations: 0.0 }
}
