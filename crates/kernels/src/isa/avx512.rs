//! Vectors as one AVX-512 register.

#![expect(unsafe_code, reason = "the processor's instructions are reached through unsafe intrinsics only")]

use std::arch::x86_64::*;

use super::{Kernel, LANES, Simd};

/// The token of AVX-512F with the byte instructions of AVX-512BW, and with the byte dot products of AVX-512 VNNI if
/// `VNNI`. It is created only where all of these were detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512<const VNNI: bool>(());

impl<const VNNI: bool> Avx512<VNNI> {
    /// Returns the token if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && (!VNNI || is_x86_feature_detected!("avx512vnni"));
        has.then_some(Self(()))
    }
}

/// SAFETY: `Avx512` exists only where the features below were detected.
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
fn run<K: Kernel>(simd: Avx512<false>, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// SAFETY: `Avx512<true>` exists only where the features below were detected.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
fn run_vnni<K: Kernel>(simd: Avx512<true>, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// Four codes in each lane.
#[derive(Clone, Copy)]
pub(crate) struct Codes {
    /// The codes as stored, or without VNNI the magnitudes of the integers that they encode.
    bytes: __m512i,
    /// Which of those integers are negative; used only without VNNI.
    negative: __mmask64,
}

// SAFETY of every block below: a value of `Avx512` exists only where AVX-512F, AVX-512BW, AVX2 and FMA were detected,
// and with `VNNI` AVX-512VNNI too. Pointers come from references to arrays of exactly the size that is read or
// written.
impl<const VNNI: bool> Simd for Avx512<VNNI> {
    type Vector = __m512;
    type Codes = Codes;
    type Dots = __m512i;
    const SUMS: usize = 28;
    const ROWS: usize = 14;
    const DOT_ROWS: usize = 8;
    const DOT_VECTORS: usize = 2;

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
    fn below(self, a: __m512, bound: f32, values: [__m512; 2]) -> __m512 {
        unsafe {
            let not_below = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(a, _mm512_set1_ps(bound));
            _mm512_mask_mov_ps(values[0], not_below, values[1])
        }
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
    fn codes(self, words: &[u32; LANES]) -> Codes {
        unsafe {
            let bytes = _mm512_loadu_si512(words.as_ptr().cast());
            if VNNI {
                return Codes { bytes, negative: 0 };
            }
            let numbers = _mm512_xor_si512(bytes, _mm512_set1_epi8(-128));
            Codes { bytes: _mm512_abs_epi8(numbers), negative: _mm512_movepi8_mask(numbers) }
        }
    }

    #[inline(always)]
    fn dots(self, sum: i32) -> __m512i {
        unsafe { if VNNI { _mm512_set1_epi32(-128 * sum) } else { _mm512_setzero_si512() } }
    }

    #[inline(always)]
    fn dot(self, codes: Codes, numbers: u32, dots: __m512i) -> __m512i {
        unsafe {
            let numbers = _mm512_set1_epi32(numbers as i32);
            if VNNI {
                return _mm512_dpbusd_epi32(dots, codes.bytes, numbers);
            }
            // The sign moves to the other factor, and two products of at most 128 * 127 fit in 16 bits.
            let numbers = _mm512_mask_sub_epi8(numbers, codes.negative, _mm512_setzero_si512(), numbers);
            let pairs = _mm512_maddubs_epi16(codes.bytes, numbers);
            _mm512_add_epi32(dots, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn floats(self, dots: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(dots) }
    }

    #[inline(always)]
    fn look_up(self, words: &[u32; LANES], table: &[u8; 16], found: [&mut [u32; LANES]; 2]) {
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            let (words, mask) = (_mm512_loadu_si512(words.as_ptr().cast()), _mm512_set1_epi8(15));
            let lower = _mm512_and_si512(words, mask);
            let upper = _mm512_and_si512(_mm512_srli_epi32::<4>(words), mask);
            let [first, second] = found;
            _mm512_storeu_si512(first.as_mut_ptr().cast(), _mm512_shuffle_epi8(table, lower));
            _mm512_storeu_si512(second.as_mut_ptr().cast(), _mm512_shuffle_epi8(table, upper));
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, place: &T) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) }
    }

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        unsafe { if VNNI { run_vnni(Avx512(()), kernel) } else { run(Avx512(()), kernel) } }
    }
}
