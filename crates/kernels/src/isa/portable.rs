//! Vectors as arrays: what the other sets must equal, and what a compiler makes good code of where fused multiply-add
//! is part of every processor.

use super::{Kernel, LANES, Simd};
use crate::half::{bf16_to_f32, f16_to_f32};

/// Needs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Portable;

type Vector = [f32; LANES];

/// `operation` on each pair of lanes.
#[inline(always)]
fn zip(a: Vector, b: Vector, operation: impl Fn(f32, f32) -> f32) -> Vector {
    std::array::from_fn(|lane| operation(a[lane], b[lane]))
}

impl Simd for Portable {
    type Vector = Vector;
    const SUMS: usize = 6;
    const ROWS: usize = 6;

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
    fn zero_below(self, a: Vector, bound: f32, value: Vector) -> Vector {
        zip(a, value, |a, value| if a < bound { 0.0 } else { value })
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
    fn widen_i8(self, codes: &[i8; LANES]) -> Vector {
        codes.map(f32::from)
    }

    #[inline(always)]
    fn look_up(self, codes: &[u32; LANES], levels: &[i8; 16]) -> [Vector; 8] {
        std::array::from_fn(|step| codes.map(|codes| f32::from(levels[(codes >> (4 * step) & 15) as usize])))
    }

    #[inline(always)]
    fn prefetch<T>(self, _place: &T) {}

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

/// As the processors' instructions have it: the second number where the two cannot be compared.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}
