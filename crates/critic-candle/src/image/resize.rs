//! Bicubic scaling, bit for bit that of Pillow: the vision tower was trained on its pixels.

use std::borrow::Cow;

use super::RgbImage;

/// Fraction bits of the fixed-point weights (Pillow's `PRECISION_BITS`: 32 - 8 - 2).
const BITS: u32 = 22;

/// Scales to `width` x `height` as Pillow's `Image.resize` with `BICUBIC` does: a = -0.5, widened for scaling down,
/// columns first, rounded to bytes between the two passes. A pass that keeps its size changes nothing.
pub fn resize_bicubic(picture: &RgbImage, width: usize, height: usize) -> RgbImage {
    let mut pixels = Cow::Borrowed(picture.pixels.as_slice());
    if width != picture.width {
        pixels = Cow::Owned(scale_rows(&pixels, picture.width, width));
    }
    if height != picture.height {
        pixels = Cow::Owned(scale_columns(&pixels, width, picture.height, height));
    }
    RgbImage { width, height, pixels: pixels.into_owned() }
}

/// The source pixels that one output pixel is made of.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

/// The windows of every output pixel of an axis of `input` pixels scaled to `output`.
fn windows(input: usize, output: usize) -> Vec<Window> {
    let scale = input as f64 / output as f64;
    let widening = scale.max(1.0);
    let support = 2.0 * widening;
    (0..output)
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
        .collect()
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

fn to_byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

fn scale_rows(pixels: &[u8], input: usize, output: usize) -> Vec<u8> {
    let windows = windows(input, output);
    let mut scaled = Vec::with_capacity(pixels.len() / input * output);
    for row in pixels.chunks_exact(input * 3) {
        for window in &windows {
            let mut sums = [1i32 << (BITS - 1); 3];
            for (pixel, weight) in row[window.first * 3..].chunks_exact(3).zip(&window.weights) {
                for channel in 0..3 {
                    sums[channel] += i32::from(pixel[channel]) * weight;
                }
            }
            scaled.extend(sums.map(to_byte));
        }
    }
    scaled
}

fn scale_columns(pixels: &[u8], width: usize, input: usize, output: usize) -> Vec<u8> {
    let row_bytes = width * 3;
    let mut scaled = Vec::with_capacity(row_bytes * output);
    let mut sums = vec![0i32; row_bytes];
    for window in windows(input, output) {
        sums.fill(1 << (BITS - 1));
        for (row, weight) in pixels[window.first * row_bytes..].chunks_exact(row_bytes).zip(&window.weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        scaled.extend(sums.iter().map(|sum| to_byte(*sum)));
    }
    scaled
}
