//! Operations on rows other than products and attention, compared with their CPU counterparts or plain loops.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod emulated;

use std::sync::Arc;

use half::bf16;
use kernels::Isa;
use kernels_cuda::{
    Activation, Chunk, Gpu, Graph, Heads, Mixture, Norm, PagedCache, PatchCutter, RotaryTable, Rows, Step,
};

/// Returns pseudo-random numbers between -2 and 2, rounded to bf16.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bf16::from_f32((state >> 8) as f32 / (1 << 22) as f32 - 2.0).to_f32()
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn uploaded(gpu: &Arc<Gpu>, numbers: &[f32], columns: usize) -> Rows {
    let narrow: Vec<bf16> = numbers.iter().copied().map(bf16::from_f32).collect();
    Rows::upload(gpu, &narrow, columns).unwrap()
}

/// Checks that each number is the wanted one rounded to 8 bits, give or take one unit in the last place: sums in
/// another order may round the other way.
fn assert_rounded(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let bound = wanted.abs().max(1e-3) / 128.0;
        assert!((found - wanted).abs() <= bound, "{index}: {found} for {wanted}");
    }
}

/// A driver may return from a large copy before it has read what is copied.
#[test]
fn numbers_that_were_uploaded_may_change_at_once() {
    let gpu = emulated::gpu();
    for count in [1024, 1 << 16] {
        let mut numbers = vec![bf16::ONE; count];
        let rows = Rows::upload(&gpu, &numbers, 1024).unwrap();
        numbers.fill(bf16::ZERO);
        assert!(rows.download().unwrap().iter().all(|number| *number == 1.0), "{count} numbers");
    }
}

#[test]
fn norms_are_their_twins() {
    let gpu = emulated::gpu();
    // Fewer groups of eight than a warp has threads, whole warps and parts of some, two groups for each thread, and
    // more than threads keep.
    for columns in [8, 24, 32, 64, 192, 1152, 3584, 8192, 8200, 12_296] {
        for rows in [1, 7, 64] {
            let x = numbers(rows * columns, 1);
            let (weight, bias) = (numbers(columns, 2), numbers(columns, 3));
            for bias in [None, Some(&bias[..])] {
                let norm = Norm::new(&gpu, &weight, bias, 1e-6).unwrap();
                let mut y = Rows::empty(&gpu).unwrap();
                norm.run(&uploaded(&gpu, &x, columns), &mut y).unwrap();
                let found = y.download().unwrap();
                let mut wanted = vec![0.0; x.len()];
                kernels::Norm { weight: &weight, bias, epsilon: 1e-6 }.run(Isa::best(), &x, &mut wanted);
                assert_rounded(&found, &wanted);
                // The bits of a row do not depend on the other rows.
                let last = (rows - 1) * columns;
                norm.run(&uploaded(&gpu, &x[last..], columns), &mut y).unwrap();
                assert_eq!(y.download().unwrap(), found[last..], "{rows} rows of {columns}");
            }
        }
    }
}

#[test]
fn activations_are_their_twins() {
    let gpu = emulated::gpu();
    let pairs = [
        (Activation::Gelu, kernels::Activation::Gelu),
        (Activation::GeluTanh, kernels::Activation::GeluTanh),
        (Activation::Silu, kernels::Activation::Silu),
    ];
    let x = numbers(5 * 352, 4);
    for (activation, twin) in pairs {
        let mut y = uploaded(&gpu, &x, 352);
        activation.run(&mut y).unwrap();
        let mut wanted = x.clone();
        twin.run(Isa::best(), &mut wanted);
        assert_rounded(&y.download().unwrap(), &wanted);

        activation.gate(&uploaded(&gpu, &x, 352), &mut y).unwrap();
        let mut wanted = vec![0.0; 5 * 176];
        twin.gate(Isa::best(), &x, 176, &mut wanted);
        assert_eq!(y.shape(), (5, 176));
        assert_rounded(&y.download().unwrap(), &wanted);
    }
    // 172 columns are not a multiple of eight.
    let mut y = uploaded(&gpu, &x[..3 * 172], 172);
    Activation::Tanh.run(&mut y).unwrap();
    let wanted: Vec<f32> = x[..3 * 172].iter().map(|x| x.tanh()).collect();
    assert_rounded(&y.download().unwrap(), &wanted);
}

#[test]
fn rows_are_looked_up_added_copied_and_mixed() {
    let gpu = emulated::gpu();
    let table = numbers(7 * 24, 5);
    let row = |index: usize| &table[index * 24..][..24];
    let rows = uploaded(&gpu, &table, 24);

    let mut found = Rows::empty(&gpu).unwrap();
    found.gather(&rows, &[6, 0, 6, 3]).unwrap();
    assert_eq!(found.download().unwrap(), [row(6), row(0), row(6), row(3)].concat());

    found.copy(1, &rows, 4..6).unwrap();
    assert_eq!(found.download().unwrap(), [row(6), row(4), row(5), row(3)].concat());

    found.add_repeated(&uploaded(&gpu, &table[..48], 24)).unwrap();
    let sums: Vec<f32> = [6, 4, 5, 3]
        .iter()
        .enumerate()
        .flat_map(|(place, index)| row(*index).iter().zip(row(place % 2)).map(|(one, other)| one + other))
        .collect();
    assert_rounded(&found.download().unwrap(), &sums);

    let mixtures = [
        Mixture { rows: [2, 0, 0, 0], weights: [1.0, 0.0, 0.0, 0.0] },
        Mixture { rows: [0, 1, 5, 6], weights: [0.5, 0.25, 0.125, 0.125] },
    ];
    let mut mixed = Rows::empty(&gpu).unwrap();
    mixed.mix(&rows, &mixtures).unwrap();
    let wanted = |mixture: &Mixture, column: usize| -> f32 {
        (0..4).map(|part| mixture.weights[part] * row(mixture.rows[part] as usize)[column]).sum()
    };
    let wanted: Vec<f32> =
        mixtures.iter().flat_map(|mixture| (0..24).map(|column| wanted(mixture, column))).collect();
    assert_rounded(&mixed.download().unwrap(), &wanted);
}

/// A captured graph runs again on what its memory holds then.
#[test]
fn a_graph_does_again_what_it_saw() {
    let gpu = emulated::gpu();
    let x = numbers(2 * 64, 6);
    let norm = Norm::new(&gpu, &numbers(64, 7), None, 1e-6).unwrap();
    let mut rows = uploaded(&gpu, &x, 64);
    let mut y = Rows::empty(&gpu).unwrap();
    norm.run(&rows, &mut y).unwrap();
    let first = y.download().unwrap();
    let graph = Graph::capture::<kernels_cuda::Error>(&gpu, || norm.run(&rows, &mut y)).unwrap();
    let other = uploaded(&gpu, &numbers(2 * 64, 8), 64);
    rows.copy(0, &other, 0..2).unwrap();
    assert_eq!(y.download().unwrap(), first, "nothing was run while it was captured");
    graph.run().unwrap();
    let again = y.download().unwrap();
    norm.run(&other, &mut y).unwrap();
    assert_eq!(y.download().unwrap(), again);
    assert_ne!(first, again);
}

/// Otherwise the driver would make the memory a part of the graph.
#[test]
fn memory_cannot_be_had_while_a_graph_is_captured() {
    let gpu = emulated::gpu();
    let x = uploaded(&gpu, &numbers(64, 6), 64);
    let captured = Graph::capture::<kernels_cuda::Error>(&gpu, || Rows::empty(&gpu)?.gather(&x, &[0]));
    assert!(matches!(captured, Err(kernels_cuda::Error::Capturing)));
    // The GPU can still be used.
    assert_eq!(x.download().unwrap(), numbers(64, 6));
}

#[test]
fn queries_turn_in_place_and_keys_on_their_way_into_the_cache() {
    for size in [8, 16, 24, 64, 72, 80, 96, 128] {
        for (heads, kv_heads) in [(4, 2), (1, 1), (28, 4)] {
            assert_turned(Heads { heads, kv_heads, size });
        }
    }
}

/// Checks two chunks of a step against plain loops.
fn assert_turned(heads: Heads) {
    let gpu = emulated::gpu();
    let Heads { heads: count, kv_heads, size } = heads;
    let (half, columns, positions) = (size / 2, (count + 2 * kv_heads) * size, 100);
    let angle =
        |position: usize, index: usize| position as f32 / 10f32.powf(index as f32 * 8.0 / half as f32);
    let table = |of: fn(f32) -> f32| -> Vec<f32> {
        (0..positions).flat_map(|position| (0..half).map(move |index| of(angle(position, index)))).collect()
    };
    let (cosines, sines) = (table(f32::cos), table(f32::sin));
    let rotary = RotaryTable::new(&gpu, (&cosines, &sines), size).unwrap();
    let mut cache = PagedCache::new(&gpu, heads, 5).unwrap();
    let mut step = Step::new(&gpu, (8, 2, 8)).unwrap();
    let chunks = [
        Chunk { start: 30, length: 5, block_table: &[3, 1] },
        Chunk { start: 0, length: 2, block_table: &[4] },
    ];
    step.set(&chunks).unwrap();
    let x = numbers(7 * columns, 9);
    let mut projections = uploaded(&gpu, &x, columns);
    cache.rotate_and_store(&mut projections, &rotary, &step).unwrap();

    let places = [(30, 3, 30), (31, 3, 31), (32, 1, 0), (33, 1, 1), (34, 1, 2), (0, 4, 0), (1, 4, 1)];
    let turned = |row: usize, head: usize, index: usize| {
        let place = row * columns + head * size + index % half;
        let (low, high) = (x[place], x[place + half]);
        let angle = places[row].0 * half + index % half;
        let (cosine, sine) = (cosines[angle], sines[angle]);
        if index < half { low * cosine - high * sine } else { high * cosine + low * sine }
    };
    let (queries, (keys, values)) = (projections.download().unwrap(), cache.download(&gpu).unwrap());
    for (row, (_, block, offset)) in places.into_iter().enumerate() {
        let wanted: Vec<f32> =
            (0..count * size).map(|index| turned(row, index / size, index % size)).collect();
        assert_rounded(&queries[row * columns..][..count * size], &wanted);
        for head in 0..kv_heads {
            let place = ((block * kv_heads + head) * 32 + offset) * size;
            let wanted: Vec<f32> = (0..size).map(|index| turned(row, count + head, index)).collect();
            assert_rounded(&keys[place..][..size], &wanted);
            let value = row * columns + (count + kv_heads + head) * size;
            assert_eq!(values[place..][..size], x[value..][..size]);
        }
    }
}

#[test]
fn tiles_are_cut_into_normalised_patches() {
    // Three patches a side, and two pixels that do not fill one: of 48 numbers, and of 75, which are padded.
    assert_cut(14, 4);
    assert_cut(17, 5);
}

/// Cuts tiles of `size` pixels a side into patches of `patch`, two tiles at once and then one.
fn assert_cut(size: usize, patch: usize) {
    let gpu = emulated::gpu();
    let side = size / patch;
    let level = |channel: usize, byte: usize| byte as f32 / 32.0 - channel as f32;
    let levels = [0, 1, 2].map(|channel| std::array::from_fn(|byte| level(channel, byte)));
    let tile = |seed: usize| -> Vec<u8> {
        (0..size * size * 3).map(|index| (index * 31 + seed * 17) as u8).collect()
    };
    let tiles = [tile(1), tile(2)];
    let mut patches = Rows::empty(&gpu).unwrap();
    let cutter = PatchCutter::new(&gpu, &levels, (size, patch)).unwrap();
    let (numbers, columns) = (3 * patch * patch, (3 * patch * patch).next_multiple_of(8));
    assert_eq!(PatchCutter::padded(numbers), columns);
    cutter.cut(&[&tiles[0], &tiles[1]], &mut patches).unwrap();
    let mut wanted = Vec::new();
    for tile in &tiles {
        for place in 0..side * side {
            for index in 0..numbers {
                let (channel, inside) = (index / (patch * patch), index % (patch * patch));
                let (y, x) = (place / side * patch + inside / patch, place % side * patch + inside % patch);
                wanted.push(level(channel, usize::from(tile[(y * size + x) * 3 + channel])));
            }
            wanted.resize(wanted.len() + columns - numbers, 0.0);
        }
    }
    assert_eq!(patches.shape(), (2 * side * side, columns));
    assert_rounded(&patches.download().unwrap(), &wanted);
    cutter.cut(&[&tiles[1]], &mut patches).unwrap();
    assert_rounded(&patches.download().unwrap(), &wanted[wanted.len() / 2..]);
}
