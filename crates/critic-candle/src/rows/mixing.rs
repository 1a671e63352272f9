//! Weighted sums of rows, on the CPU in f32.

use kernels_cuda::Mixture;

/// The `mixtures` `[mixtures, columns]` of the rows of `floats` `[rows, columns]`.
pub(super) fn mix(floats: &[f32], columns: usize, mixtures: &[Mixture]) -> Vec<f32> {
    let row = |index: u32| &floats[index as usize * columns..][..columns];
    let mut mixed = Vec::with_capacity(mixtures.len() * columns);
    for Mixture { rows, weights } in mixtures {
        let start = mixed.len();
        if weights[0] == 1.0 {
            mixed.extend_from_slice(row(rows[0]));
            continue;
        }
        mixed.resize(start + columns, 0.0);
        for (index, weight) in rows.iter().zip(weights).filter(|(_, weight)| **weight != 0.0) {
            let sums = &mut mixed[start..];
            sums.iter_mut().zip(row(*index)).for_each(|(sum, number)| *sum += weight * number);
        }
    }
    mixed
}
