//! Numbers for tests of products, and checks of results.

use half::bf16;
use kernels_cuda::Gpu;

/// Returns a number of outputs for which the blocks that `gpu` holds at a time have to compute several parts one after
/// the other, whatever the kernel: it computes at most 64 for each multiprocessor at a time.
pub(crate) fn outputs_of_several_rounds(gpu: &Gpu) -> usize {
    2 * 64 * gpu.multiprocessors().unwrap() + 5
}

/// Returns pseudo-random numbers between -1 and 1, rounded to bf16.
pub(crate) fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bf16::from_f32((state >> 8) as f32 / (1 << 23) as f32 - 1.0).to_f32()
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Rounds numbers to bf16.
pub(crate) fn rounded(numbers: &[f32]) -> Vec<bf16> {
    numbers.iter().copied().map(bf16::from_f32).collect()
}

/// Checks that no number is off by more than its bound.
pub(crate) fn assert_same(found: &[f32], wanted: &[f32], bounds: &[f32]) {
    assert_eq!((found.len(), bounds.len()), (wanted.len(), wanted.len()));
    for (index, ((found, wanted), bound)) in found.iter().zip(wanted).zip(bounds).enumerate() {
        assert!((found - wanted).abs() <= *bound, "{index}: {found} for {wanted}, give or take {bound}");
    }
}

/// Checks that the products of each of 64 rows of `input` numbers have the same bits alone and beside any other rows.
/// `products` computes those of some rows, `output` numbers each.
pub(crate) fn assert_same_in_any_company(
    (output, input): (usize, usize),
    products: impl Fn(&[f32]) -> Vec<f32>,
) {
    let x = numbers(64 * input, 4);
    let all = products(&x);
    for rows in [2, 8, 11, 16, 20, 24, 27, 32, 45] {
        assert_eq!(products(&x[..rows * input]), all[..rows * output], "{rows} rows");
    }
    for (x, wanted) in x.chunks(input).zip(all.chunks(output)) {
        assert_eq!(products(x), wanted);
    }
}
