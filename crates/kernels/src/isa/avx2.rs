//! Vectors as two registers of AVX2.

#![expect(unsafe_code, reason = "the processor's instructions are reached through unsafe intrinsics only")]

use std::arch::x86_64::*;

use super::{Kernel, LANES, Simd};

/// There is one only where AVX2, FMA and the conversions of f16 were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The token, when the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

/// SAFETY: `Avx2` exists only where the features below were detected.
#[target_feature(enable = "avx2,fma,f16c")]
fn run<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// The lower and the upper eight lanes.
#[derive(Clone, Copy)]
pub(crate) struct Pair(__m256, __m256);

// SAFETY of every block below: a value of `Avx2` exists only where AVX2 and FMA were detected, and pointers come from
// references to arrays of which eight floats from there on are read or written.
impl Simd for Avx2 {
    type Vector = Pair;
    const SUMS: usize = 6;
    const ROWS: usize = 6;

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
    fn zero_below(self, a: Pair, bound: f32, value: Pair) -> Pair {
        unsafe {
            let bound = _mm256_set1_ps(bound);
            let keep = |a, value| _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(a, bound), value);
            Pair(keep(a.0, value.0), keep(a.1, value.1))
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
    fn widen_i8(self, codes: &[i8; LANES]) -> Pair {
        unsafe {
            let widen = |codes| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
            let load = |codes: &[i8]| _mm_loadl_epi64(codes.as_ptr().cast());
            Pair(widen(load(&codes[..8])), widen(load(&codes[8..])))
        }
    }

    #[inline(always)]
    fn look_up(self, codes: &[u32; LANES], levels: &[i8; 16]) -> [Pair; 8] {
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(levels.as_ptr().cast()));
            let load = |codes: &[u32]| _mm256_loadu_si256(codes.as_ptr().cast());
            let (lower, upper) = (levels_of(load(&codes[..8]), table), levels_of(load(&codes[8..]), table));
            std::array::from_fn(|step| Pair(lower[step], upper[step]))
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, place: &T) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) }
    }

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        unsafe { run(self, kernel) }
    }
}

/// Of the 16 bytes of each half of `table` those that the eight lots of four bits of each lane of `codes` name.
///
/// SAFETY: whoever calls it has an [`Avx2`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn levels_of(codes: __m256i, table: __m256i) -> [__m256; 8] {
    let mask = _mm256_set1_epi8(15);
    let even = _mm256_shuffle_epi8(table, _mm256_and_si256(codes, mask));
    let odd = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi32::<4>(codes), mask));
    // A byte goes to the top of its lane and comes down with its sign.
    let byte = |shifted| _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(shifted));
    [
        byte(_mm256_slli_epi32::<24>(even)),
        byte(_mm256_slli_epi32::<24>(odd)),
        byte(_mm256_slli_epi32::<16>(even)),
        byte(_mm256_slli_epi32::<16>(odd)),
        byte(_mm256_slli_epi32::<8>(even)),
        byte(_mm256_slli_epi32::<8>(odd)),
        byte(even),
        byte(odd),
    ]
}
