//! Bicubic scaling with the same results as Pillow, bit for bit: the vision tower was trained on Pillow's pixels.

use std::borrow::Cow;

use kernels::{Isa, Resampling, Window};

use super::RgbImage;

/// Fraction bits of the fixed-point weights (Pillow's `PRECISION_BITS`: 32 - 8 - 2).
const BITS: u32 = 22;

/// An image more than this many times as high as wide is scaled in height first if its height shrinks.
const TALL: usize = 100;

/// Scales to `width` x `height` as Pillow's `Image.resize` with `BICUBIC` does: a = -0.5, with a wider kernel for
/// scaling down, horizontally first except for tall images, and rounded to bytes between the two passes. A pass
/// that would keep its size is skipped.
pub fn resize_bicubic(image: &RgbImage, width: usize, height: usize) -> RgbImage {
    let is_tall = image.height > TALL * image.width && height < image.height;
    let mut pixels = Cow::Borrowed(image.pixels.as_slice());
    let mut now = image.width;
    for is_in_height in [is_tall, !is_tall] {
        if is_in_height && height != image.height {
            pixels = Cow::Owned(resampling(image.height, height).rows(Isa::best(), &pixels, now));
        } else if !is_in_height && width != now {
            pixels = Cow::Owned(resampling(now, width).columns(Isa::best(), &pixels, now));
            now = width;
        }
    }
    RgbImage { width, height, pixels: pixels.into_owned() }
}

/// The weights of every output pixel of an axis of `input` pixels scaled to `output`.
fn resampling(input: usize, output: usize) -> Resampling {
    let scale = input as f64 / output as f64;
    let widening = scale.max(1.0);
    let support = 2.0 * widening;
    let windows = (0..output)
        .map(|index| {
            let centre = (index as f64 + 0.5) * scale;
            let first = ((centre - support + 0.5) as i64).max(0) as usize;
            let last = ((centre + support + 0.5) as usize).min(input);
            let raw: Vec<f64> = (first..last)
                .map(|source| cubic((source as f64 - centre + 0.5) * (1.0 / widening)))
                .collect();
            let total: f64 = raw.iter().sum();
            let fixed = |weight: &f64| {
                let scaled = weight / total * f64::from(1u32 << BITS);
                (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
            };
            Window { first, weights: raw.iter().map(fixed).collect() }
        })
        .collect();
    Resampling { windows, fraction_bits: BITS }
}

/// The cubic kernel with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
