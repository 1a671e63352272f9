//! Vectors as arrays: the reference for the other sets, which compilers turn into good code where fused multiply-add
//! is part of every processor.

use super::{Kernel, LANES, Simd};
use crate::half::{bf16_to_f32, f16_to_f32};

/// The token of the portable set, which needs no particular instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Portable;

type Vector = [f32; LANES];

/// Applies `operation` to each pair of lanes.
#[inline(always)]
fn zip(a: Vector, b: Vector, operation: impl Fn(f32, f32) -> f32) -> Vector {
    std::array::from_fn(|lane| operation(a[lane], b[lane]))
}

impl Simd for Portable {
    type Vector = Vector;
    type Codes = [[i32; 4]; LANES];
    type Dots = [i32; LANES];
    const SUMS: usize = 6;
    const ROWS: usize = 6;
    const DOT_ROWS: usize = 4;
    const DOT_VECTORS: usize = 1;

    #[inline(always)]
    fn splat(self, value: f32) -> Vector {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, floats: &[f32; LANES]) -> Vector {
        *floats
    }

    #[inline(always)]
    fn store(self, vector: Vector, floats: &mut [f32; LANES]) {
        *floats = vector;
    }

    #[inline(always)]
    fn add(self, a: Vector, b: Vector) -> Vector {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Vector, b: Vector) -> Vector {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Vector, b: Vector) -> Vector {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Vector, b: Vector) -> Vector {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn fma(self, a: Vector, b: Vector, c: Vector) -> Vector {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    #[inline(always)]
    fn max(self, a: Vector, b: Vector) -> Vector {
        zip(a, b, larger)
    }

    #[inline(always)]
    fn largest(self, a: Vector) -> f32 {
        let eight: [f32; 8] = std::array::from_fn(|lane| larger(a[lane], a[lane + 8]));
        let four: [f32; 4] = std::array::from_fn(|lane| larger(eight[lane], eight[lane + 4]));
        larger(larger(four[0], four[2]), larger(four[1], four[3]))
    }

    #[inline(always)]
    fn below(self, a: Vector, bound: f32, values: [Vector; 2]) -> Vector {
        std::array::from_fn(|lane| if a[lane] < bound { values[0][lane] } else { values[1][lane] })
    }

    #[inline(always)]
    fn power_of_two(self, a: Vector) -> Vector {
        a.map(|a| f32::from_bits((a.to_bits() << 23).wrapping_add(1f32.to_bits())))
    }

    #[inline(always)]
    fn widen_bf16(self, bits: &[u16; LANES]) -> Vector {
        bits.map(bf16_to_f32)
    }

    #[inline(always)]
    fn widen_f16(self, bits: &[u16; LANES]) -> Vector {
        bits.map(f16_to_f32)
    }

    #[inline(always)]
    fn codes(self, words: &[u32; LANES]) -> Self::Codes {
        words.map(|word| word.to_le_bytes().map(|code| i32::from(code) - 128))
    }

    #[inline(always)]
    fn dots(self, _sum: i32) -> Self::Dots {
        [0; LANES]
    }

    #[inline(always)]
    fn dot(self, codes: Self::Codes, numbers: u32, dots: Self::Dots) -> Self::Dots {
        let numbers = numbers.to_le_bytes().map(|number| i32::from(number as i8));
        std::array::from_fn(|lane| {
            codes[lane].iter().zip(numbers).fold(dots[lane], |dot, (code, number)| dot + code * number)
        })
    }

    #[inline(always)]
    fn floats(self, dots: Self::Dots) -> Vector {
        dots.map(|dot| dot as f32)
    }

    #[inline(always)]
    fn look_up(self, words: &[u32; LANES], table: &[u8; 16], found: [&mut [u32; LANES]; 2]) {
        let named = |word: u32, shift: u32| {
            u32::from_le_bytes(word.to_le_bytes().map(|byte| table[usize::from(byte >> shift & 15)]))
        };
        let [first, second] = found;
        for (lane, word) in words.iter().enumerate() {
            (first[lane], second[lane]) = (named(*word, 0), named(*word, 4));
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, _place: &T) {}

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

/// Returns the larger number, or `b` if the two cannot be compared, like the processors' instructions.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}
