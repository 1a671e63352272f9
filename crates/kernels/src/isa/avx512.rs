//! Vectors as one register of AVX-512.

#![expect(unsafe_code, reason = "the processor's instructions are reached through unsafe intrinsics only")]

use std::arch::x86_64::*;

use super::{Kernel, LANES, Simd};

/// There is one only where AVX-512F was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The token, when the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }
}

/// SAFETY: `Avx512` exists only where the features below were detected.
#[target_feature(enable = "avx512f,avx2,fma")]
fn run<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

// SAFETY of every block below: a value of `Avx512` exists only where AVX-512F and AVX2 were detected, and pointers come
// from references to arrays of the very size that is read or written.
impl Simd for Avx512 {
    type Vector = __m512;
    const SUMS: usize = 28;
    const ROWS: usize = 14;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, floats: &[f32; LANES]) -> __m512 {
        unsafe { _mm512_loadu_ps(floats.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, vector: __m512, floats: &mut [f32; LANES]) {
        unsafe { _mm512_storeu_ps(floats.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn largest(self, a: __m512) -> f32 {
        unsafe {
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a)));
            let eight = _mm256_max_ps(_mm512_castps512_ps256(a), upper);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn zero_below(self, a: __m512, bound: f32, value: __m512) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(a, _mm512_set1_ps(bound)), value) }
    }

    #[inline(always)]
    fn power_of_two(self, a: __m512) -> __m512 {
        unsafe {
            let shifted = _mm512_slli_epi32::<23>(_mm512_castps_si512(a));
            _mm512_castsi512_ps(_mm512_add_epi32(shifted, _mm512_castps_si512(_mm512_set1_ps(1.0))))
        }
    }

    #[inline(always)]
    fn widen_bf16(self, bits: &[u16; LANES]) -> __m512 {
        unsafe {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(bits.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        }
    }

    #[inline(always)]
    fn widen_f16(self, bits: &[u16; LANES]) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bits.as_ptr().cast())) }
    }

    #[inline(always)]
    fn widen_i8(self, codes: &[i8; LANES]) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(codes.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn look_up(self, codes: &[u32; LANES], levels: &[i8; 16]) -> [__m512; 8] {
        unsafe {
            let table = self.widen_i8(levels);
            let codes = _mm512_loadu_si512(codes.as_ptr().cast());
            // The instruction looks at the four lowest bits of a lane alone.
            let level = |codes| _mm512_permutexvar_ps(codes, table);
            [
                level(codes),
                level(_mm512_srli_epi32::<4>(codes)),
                level(_mm512_srli_epi32::<8>(codes)),
                level(_mm512_srli_epi32::<12>(codes)),
                level(_mm512_srli_epi32::<16>(codes)),
                level(_mm512_srli_epi32::<20>(codes)),
                level(_mm512_srli_epi32::<24>(codes)),
                level(_mm512_srli_epi32::<28>(codes)),
            ]
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
