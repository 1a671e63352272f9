//! Bytes scaled along one axis: each is the rounded weighted sum of its window, in every instruction set.

use kernels::{Isa, Resampling, Window};

const FRACTION_BITS: u32 = 22;

/// Returns windows of 1 to `most` of `input` pixels for `output` pixels, some with negative weights and sums above 1.
fn resampling(input: usize, output: usize, most: usize) -> Resampling {
    let window = |index: usize| {
        let count = (1 + index % most).min(input);
        let first = (index * 7) % (input - count + 1);
        let weight = |tap: usize| (((index * 31 + tap * 17) % 23) as i32 - 8) * ((1 << 19) / count as i32);
        Window { first, weights: (0..count).map(weight).collect() }
    };
    Resampling { windows: (0..output).map(window).collect(), fraction_bits: FRACTION_BITS }
}

/// Computes the byte of `window`, where `source` returns the byte at an index along the axis.
fn byte(window: &Window, source: impl Fn(usize) -> u8) -> u8 {
    let product = |(tap, weight): (usize, &i32)| i64::from(*weight) * i64::from(source(window.first + tap));
    let sum: i64 = window.weights.iter().enumerate().map(product).sum();
    ((sum + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS).clamp(0, 255) as u8
}

fn pixels(count: usize) -> Vec<u8> {
    (0..count * 3).map(|index| (index * index % 253) as u8).collect()
}

#[test]
fn each_byte_is_the_rounded_sum_of_its_window() {
    // The last two are split into many units of work.
    for (width, height, output, most) in [
        (1, 1, 1, 1),
        (5, 3, 9, 4),
        (23, 6, 7, 12),
        (64, 9, 300, 3),
        (1400, 301, 1300, 40),
        (300, 1003, 1100, 51),
    ] {
        let source = pixels(width * height);
        let at = |x: usize, y: usize, channel: usize| source[(y * width + x) * 3 + channel];
        let along = resampling(width, output, most);
        let down = resampling(height, output, most);
        for isa in Isa::available() {
            let scaled = along.columns(isa, &source, width);
            assert_eq!(scaled.len(), output * height * 3);
            for (index, found) in scaled.iter().enumerate() {
                let (x, y, channel) = (index / 3 % output, index / 3 / output, index % 3);
                assert_eq!(
                    *found,
                    byte(&along.windows[x], |x| at(x, y, channel)),
                    "{width}x{height} {x},{y}"
                );
            }
            let scaled = down.rows(isa, &source, width);
            assert_eq!(scaled.len(), output * width * 3);
            for (index, found) in scaled.iter().enumerate() {
                let (x, y, channel) = (index / 3 % width, index / 3 / width, index % 3);
                assert_eq!(*found, byte(&down.windows[y], |y| at(x, y, channel)), "{width}x{height} {x},{y}");
            }
        }
    }
}

#[test]
fn nothing_scales_to_nothing() {
    let nothing = Resampling { windows: Vec::new(), fraction_bits: FRACTION_BITS };
    let one = resampling(1, 1, 1);
    assert!(nothing.columns(Isa::best(), &[1, 2, 3], 1).is_empty());
    assert!(nothing.rows(Isa::best(), &[1, 2, 3], 1).is_empty());
    assert!(one.columns(Isa::best(), &[], 1).is_empty() && one.rows(Isa::best(), &[], 0).is_empty());
}
