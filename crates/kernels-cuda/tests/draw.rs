//! Weights that are drawn on a GPU, compared with plain arithmetic.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod emulated;

use half::bf16;
use kernels_cuda::{Draw, Rows};

/// 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The mixing function of SplitMix64, which spreads each bit over all.
fn mixed(state: u64) -> u64 {
    let mut bits = state.wrapping_add(STEP);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Returns a number of `draw`: from the sum of four 16-bit integers, minus its mean, divided by its standard
/// deviation.
fn drawn(draw: Draw, index: u64) -> f32 {
    let bits = mixed(draw.key.wrapping_add(index.wrapping_mul(STEP)));
    let sum: u32 = (0..4).map(|part| (bits >> (16 * part)) as u32 & 0xffff).sum();
    let normal = (sum as f32 - 131_070.0) / (65_536.0 * 0.577_350_3_f32);
    bf16::from_f32(draw.centre + draw.spread * normal).to_f32()
}

#[test]
fn drawn_numbers_have_the_bits_that_a_processor_draws() {
    let gpu = emulated::gpu();
    let draws = [
        Draw { key: 0x1234_5678_9abc_def0, centre: 0.0, spread: 0.02 },
        Draw { key: u64::MAX - 3, centre: 1.0, spread: 0.2 },
    ];
    for (draw, (rows, columns)) in
        draws.into_iter().flat_map(|draw| [(3, 1000), (1, 13), (2, 8)].map(|s| (draw, s)))
    {
        for first in [0, 7, u64::from(u32::MAX) - 5] {
            let mut y = Rows::empty(&gpu).unwrap();
            y.room((rows, columns)).unwrap();
            draw.fill(&mut y, 0..rows, first).unwrap();
            let wanted: Vec<f32> =
                (0..(rows * columns) as u64).map(|index| drawn(draw, first + index)).collect();
            assert_eq!(y.download().unwrap(), wanted);
        }
    }
}

/// Parts of a weight that come from several tensors are drawn side by side.
#[test]
fn rows_are_drawn_between_others() {
    let gpu = emulated::gpu();
    let draw = Draw { key: 5, centre: 0.5, spread: 2.0 };
    let mut y = Rows::upload(&gpu, &[bf16::from_f32(3.0); 5 * 24], 24).unwrap();
    draw.fill(&mut y, 1..4, 0).unwrap();
    draw.fill(&mut y, 2..2, 0).unwrap();
    let found = y.download().unwrap();
    let wanted: Vec<f32> = (0..3 * 24).map(|index| drawn(draw, index)).collect();
    assert_eq!(found[24..4 * 24], wanted);
    assert!(found[..24].iter().chain(&found[4 * 24..]).all(|number| *number == 3.0));
}
