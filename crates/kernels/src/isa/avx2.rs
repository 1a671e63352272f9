//! Vectors as two AVX2 registers.

#![expect(unsafe_code, reason = "the processor's instructions are reached through unsafe intrinsics only")]

use std::arch::x86_64::*;

use super::{Kernel, LANES, Simd};

/// The token of AVX2 with FMA and the f16 conversions of F16C, and with the byte dot products of AVX-VNNI if `VNNI`.
/// It is created only where all of these were detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2<const VNNI: bool>(());

impl<const VNNI: bool> Avx2<VNNI> {
    /// Returns the token if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && (!VNNI || is_x86_feature_detected!("avxvnni"));
        has.then_some(Self(()))
    }
}

/// SAFETY: `Avx2` exists only where the features below were detected.
#[target_feature(enable = "avx2,fma,f16c")]
fn run<K: Kernel>(simd: Avx2<false>, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// SAFETY: `Avx2<true>` exists only where the features below were detected.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn run_vnni<K: Kernel>(simd: Avx2<true>, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// The lower and the upper eight lanes.
#[derive(Clone, Copy)]
pub(crate) struct Pair(__m256, __m256);

/// Integers in the lower and the upper eight lanes.
#[derive(Clone, Copy)]
pub(crate) struct Whole(__m256i, __m256i);

/// Four codes in each lane.
#[derive(Clone, Copy)]
pub(crate) struct Codes {
    /// The codes as stored, or without VNNI the magnitudes of the integers that they encode.
    bytes: Whole,
    /// Those integers with their signs; used only without VNNI.
    numbers: Whole,
}

// SAFETY of every block below: a value of `Avx2` exists only where AVX2, FMA and F16C were detected, and with `VNNI`
// AVX-VNNI too. Pointers come from references to arrays of which the next eight floats or words, or 16 bytes, are
// read or written.
impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type Vector = Pair;
    type Codes = Codes;
    type Dots = Whole;
    const SUMS: usize = 6;
    const ROWS: usize = 6;
    const DOT_ROWS: usize = if VNNI { 6 } else { 4 };
    const DOT_VECTORS: usize = 1;

    #[inline(always)]
    fn splat(self, value: f32) -> Pair {
        unsafe { Pair(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }

    #[inline(always)]
    fn load(self, floats: &[f32; LANES]) -> Pair {
        unsafe { Pair(_mm256_loadu_ps(floats.as_ptr()), _mm256_loadu_ps(floats[8..].as_ptr())) }
    }

    #[inline(always)]
    fn store(self, vector: Pair, floats: &mut [f32; LANES]) {
        unsafe {
            _mm256_storeu_ps(floats.as_mut_ptr(), vector.0);
            _mm256_storeu_ps(floats[8..].as_mut_ptr(), vector.1);
        }
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        unsafe { Pair(_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn largest(self, a: Pair) -> f32 {
        unsafe {
            let eight = _mm256_max_ps(a.0, a.1);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn below(self, a: Pair, bound: f32, values: [Pair; 2]) -> Pair {
        unsafe {
            let bound = _mm256_set1_ps(bound);
            let choose =
                |a, below, other| _mm256_blendv_ps(below, other, _mm256_cmp_ps::<_CMP_NLT_UQ>(a, bound));
            Pair(choose(a.0, values[0].0, values[1].0), choose(a.1, values[0].1, values[1].1))
        }
    }

    #[inline(always)]
    fn power_of_two(self, a: Pair) -> Pair {
        unsafe {
            let one = _mm256_castps_si256(_mm256_set1_ps(1.0));
            let shifted = |a| _mm256_slli_epi32::<23>(_mm256_castps_si256(a));
            let power = |a| _mm256_castsi256_ps(_mm256_add_epi32(shifted(a), one));
            Pair(power(a.0), power(a.1))
        }
    }

    #[inline(always)]
    fn widen_bf16(self, bits: &[u16; LANES]) -> Pair {
        unsafe {
            let widen = |bits| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)));
            let load = |bits: &[u16]| _mm_loadu_si128(bits.as_ptr().cast());
            Pair(widen(load(&bits[..8])), widen(load(&bits[8..])))
        }
    }

    #[inline(always)]
    fn widen_f16(self, bits: &[u16; LANES]) -> Pair {
        unsafe {
            let load = |bits: &[u16]| _mm_loadu_si128(bits.as_ptr().cast());
            Pair(_mm256_cvtph_ps(load(&bits[..8])), _mm256_cvtph_ps(load(&bits[8..])))
        }
    }

    #[inline(always)]
    fn codes(self, words: &[u32; LANES]) -> Codes {
        unsafe {
            let load = |words: &[u32]| _mm256_loadu_si256(words.as_ptr().cast());
            let bytes = Whole(load(&words[..8]), load(&words[8..]));
            if VNNI {
                return Codes { bytes, numbers: bytes };
            }
            let number = |bytes| _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
            let numbers = Whole(number(bytes.0), number(bytes.1));
            Codes { bytes: Whole(_mm256_abs_epi8(numbers.0), _mm256_abs_epi8(numbers.1)), numbers }
        }
    }

    #[inline(always)]
    fn dots(self, sum: i32) -> Whole {
        unsafe {
            let dots = if VNNI { _mm256_set1_epi32(-128 * sum) } else { _mm256_setzero_si256() };
            Whole(dots, dots)
        }
    }

    #[inline(always)]
    fn dot(self, codes: Codes, numbers: u32, dots: Whole) -> Whole {
        unsafe {
            let factors = _mm256_set1_epi32(numbers as i32);
            if VNNI {
                let dot = |dots, bytes| _mm256_dpbusd_avx_epi32(dots, bytes, factors);
                return Whole(dot(dots.0, codes.bytes.0), dot(dots.1, codes.bytes.1));
            }
            // The sign moves to the other factor, and two products of at most 128 * 127 fit in 16 bits.
            let dot = |dots, bytes, numbers| {
                let pairs = _mm256_maddubs_epi16(bytes, _mm256_sign_epi8(factors, numbers));
                _mm256_add_epi32(dots, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            };
            Whole(dot(dots.0, codes.bytes.0, codes.numbers.0), dot(dots.1, codes.bytes.1, codes.numbers.1))
        }
    }

    #[inline(always)]
    fn floats(self, dots: Whole) -> Pair {
        unsafe { Pair(_mm256_cvtepi32_ps(dots.0), _mm256_cvtepi32_ps(dots.1)) }
    }

    #[inline(always)]
    fn look_up(self, words: &[u32; LANES], table: &[u8; 16], found: [&mut [u32; LANES]; 2]) {
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            let mask = _mm256_set1_epi8(15);
            let [first, second] = found;
            for half in [0, 8] {
                let words = _mm256_loadu_si256(words[half..half + 8].as_ptr().cast());
                let lower = _mm256_and_si256(words, mask);
                let upper = _mm256_and_si256(_mm256_srli_epi32::<4>(words), mask);
                let (first, second) = (&mut first[half..half + 8], &mut second[half..half + 8]);
                _mm256_storeu_si256(first.as_mut_ptr().cast(), _mm256_shuffle_epi8(table, lower));
                _mm256_storeu_si256(second.as_mut_ptr().cast(), _mm256_shuffle_epi8(table, upper));
            }
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, place: &T) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) }
    }

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        unsafe { if VNNI { run_vnni(Avx2(()), kernel) } else { run(Avx2(()), kernel) } }
    }
}
