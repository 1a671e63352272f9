//! Vectors as four NEON registers.

#![expect(unsafe_code, reason = "the processor's instructions are reached through unsafe intrinsics only")]

use std::arch::{aarch64::*, asm, is_aarch64_feature_detected};

use super::{Kernel, LANES, Simd};

/// Floats in a register.
const WIDTH: usize = 4;

/// The token of NEON, and of its byte dot products if `DOTPROD`. It is created only where these were detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Neon<const DOTPROD: bool>(());

impl<const DOTPROD: bool> Neon<DOTPROD> {
    /// Returns the token if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let has =
            is_aarch64_feature_detected!("neon") && (!DOTPROD || is_aarch64_feature_detected!("dotprod"));
        has.then_some(Self(()))
    }
}

/// SAFETY: `Neon` exists only where the feature below was detected.
#[target_feature(enable = "neon")]
fn run<K: Kernel>(simd: Neon<false>, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// SAFETY: `Neon<true>` exists only where the features below were detected.
#[target_feature(enable = "neon,dotprod")]
fn run_dotprod<K: Kernel>(simd: Neon<true>, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// Four registers, which hold lanes 0 to 3, 4 to 7 and so on.
type Four<T> = [T; LANES / WIDTH];

/// Applies `operation` to each pair of registers.
#[inline(always)]
fn zip<T: Copy, U: Copy>(a: Four<T>, b: Four<T>, operation: impl Fn(T, T) -> U) -> Four<U> {
    [operation(a[0], b[0]), operation(a[1], b[1]), operation(a[2], b[2]), operation(a[3], b[3])]
}

/// `a` where it is larger, else `b`.
///
/// SAFETY: the caller holds a [`Neon`].
#[inline]
#[target_feature(enable = "neon")]
fn larger(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(vcgtq_f32(a, b), a, b)
}

// SAFETY of every block below: a value of `Neon` exists only where NEON was detected, and with `DOTPROD` its
// instructions too. Pointers come from references to arrays of which one register is read or written.
impl<const DOTPROD: bool> Simd for Neon<DOTPROD> {
    type Vector = Four<float32x4_t>;
    type Codes = Four<int8x16_t>;
    type Dots = Four<int32x4_t>;
    const SUMS: usize = 6;
    const ROWS: usize = 6;
    const DOT_ROWS: usize = 6;
    const DOT_VECTORS: usize = 1;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        unsafe { [vdupq_n_f32(value); 4] }
    }

    #[inline(always)]
    fn load(self, floats: &[f32; LANES]) -> Self::Vector {
        let [a, b, c, d] = quarters(floats);
        unsafe {
            [vld1q_f32(a.as_ptr()), vld1q_f32(b.as_ptr()), vld1q_f32(c.as_ptr()), vld1q_f32(d.as_ptr())]
        }
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, floats: &mut [f32; LANES]) {
        for (quarter, register) in floats.as_chunks_mut::<WIDTH>().0.iter_mut().zip(vector) {
            unsafe { vst1q_f32(quarter.as_mut_ptr(), register) }
        }
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| unsafe { vaddq_f32(a, b) })
    }

    #[inline(always)]
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| unsafe { vsubq_f32(a, b) })
    }

    #[inline(always)]
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| unsafe { vmulq_f32(a, b) })
    }

    #[inline(always)]
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| unsafe { vdivq_f32(a, b) })
    }

    #[inline(always)]
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        let fma = |index: usize| unsafe { vfmaq_f32(c[index], a[index], b[index]) };
        [fma(0), fma(1), fma(2), fma(3)]
    }

    #[inline(always)]
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| unsafe { larger(a, b) })
    }

    #[inline(always)]
    fn largest(self, a: Self::Vector) -> f32 {
        unsafe {
            let four = larger(larger(a[0], a[2]), larger(a[1], a[3]));
            // The upper half moves down.
            let two = larger(four, vextq_f32::<2>(four, four));
            vgetq_lane_f32::<0>(larger(two, vdupq_laneq_f32::<1>(two)))
        }
    }

    #[inline(always)]
    fn below(self, a: Self::Vector, bound: f32, values: [Self::Vector; 2]) -> Self::Vector {
        let [below, other] = values;
        let choose = |index: usize| unsafe {
            vbslq_f32(vcltq_f32(a[index], vdupq_n_f32(bound)), below[index], other[index])
        };
        [choose(0), choose(1), choose(2), choose(3)]
    }

    #[inline(always)]
    fn power_of_two(self, a: Self::Vector) -> Self::Vector {
        zip(a, self.splat(1.0), |a, one| unsafe {
            let shifted = vshlq_n_u32::<23>(vreinterpretq_u32_f32(a));
            vreinterpretq_f32_u32(vaddq_u32(shifted, vreinterpretq_u32_f32(one)))
        })
    }

    #[inline(always)]
    fn widen_bf16(self, bits: &[u16; LANES]) -> Self::Vector {
        let widen = |bits: &[u16; WIDTH]| unsafe {
            vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(bits.as_ptr()))))
        };
        let [a, b, c, d] = quarters(bits);
        [widen(a), widen(b), widen(c), widen(d)]
    }

    #[inline(always)]
    fn widen_f16(self, bits: &[u16; LANES]) -> Self::Vector {
        let widen =
            |bits: &[u16; WIDTH]| unsafe { vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(bits.as_ptr()))) };
        let [a, b, c, d] = quarters(bits);
        [widen(a), widen(b), widen(c), widen(d)]
    }

    #[inline(always)]
    fn codes(self, words: &[u32; LANES]) -> Self::Codes {
        let numbers = |words: &[u32; WIDTH]| unsafe {
            let bytes = vreinterpretq_u8_u32(vld1q_u32(words.as_ptr()));
            vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(128)))
        };
        let [a, b, c, d] = quarters(words);
        [numbers(a), numbers(b), numbers(c), numbers(d)]
    }

    #[inline(always)]
    fn dots(self, _sum: i32) -> Self::Dots {
        unsafe { [vdupq_n_s32(0); 4] }
    }

    #[inline(always)]
    fn dot(self, codes: Self::Codes, numbers: u32, dots: Self::Dots) -> Self::Dots {
        let numbers = unsafe { vreinterpretq_s8_u32(vdupq_n_u32(numbers)) };
        let dot = |index: usize| unsafe {
            if DOTPROD {
                return dot_product(dots[index], codes[index], numbers);
            }
            // Two products of at most 128 * 127 fit in 16 bits.
            let lower = vmull_s8(vget_low_s8(codes[index]), vget_low_s8(numbers));
            let upper = vmull_high_s8(codes[index], numbers);
            vpadalq_s16(dots[index], vpaddq_s16(lower, upper))
        };
        [dot(0), dot(1), dot(2), dot(3)]
    }

    #[inline(always)]
    fn floats(self, dots: Self::Dots) -> Self::Vector {
        let float = |index: usize| unsafe { vcvtq_f32_s32(dots[index]) };
        [float(0), float(1), float(2), float(3)]
    }

    #[inline(always)]
    fn look_up(self, words: &[u32; LANES], table: &[u8; 16], found: [&mut [u32; LANES]; 2]) {
        let [first, second] = found;
        let places = first.as_chunks_mut::<WIDTH>().0.iter_mut().zip(second.as_chunks_mut::<WIDTH>().0);
        for (words, (first, second)) in quarters(words).into_iter().zip(places) {
            unsafe {
                let table = vld1q_u8(table.as_ptr());
                let bytes = vreinterpretq_u8_u32(vld1q_u32(words.as_ptr()));
                let lower = vqtbl1q_u8(table, vandq_u8(bytes, vdupq_n_u8(15)));
                let upper = vqtbl1q_u8(table, vshrq_n_u8::<4>(bytes));
                vst1q_u32(first.as_mut_ptr(), vreinterpretq_u32_u8(lower));
                vst1q_u32(second.as_mut_ptr(), vreinterpretq_u32_u8(upper));
            }
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, place: &T) {
        // SAFETY: a prefetch has no effect that a program can observe. There is no stable intrinsic for it.
        unsafe {
            asm!("prfm pldl1keep, [{}]", in(reg) std::ptr::from_ref(place),
                options(nostack, readonly, preserves_flags));
        }
    }

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        unsafe { if DOTPROD { run_dotprod(Neon(()), kernel) } else { run(Neon(()), kernel) } }
    }
}

/// Returns the numbers of each register.
#[inline(always)]
fn quarters<T>(numbers: &[T; LANES]) -> [&[T; WIDTH]; 4] {
    let quarters: &[[T; WIDTH]; 4] = numbers.as_chunks().0.first_chunk().expect("16 are four times 4");
    quarters.each_ref()
}

/// Adds to each lane of `dots` the sum of the four products of its bytes. There is no stable intrinsic for it.
///
/// SAFETY: the caller holds a `Neon<true>`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_product(mut dots: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction changes only the register that is declared as changed, and the processor supports it.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) dots, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    dots
}
