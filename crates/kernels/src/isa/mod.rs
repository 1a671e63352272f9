//! Vectors of 16 floats, and the instruction sets that implement them.
//!
//! A type that implements [`Simd`] is a token: a value of it proves that the processor has the instructions. Kernels
//! are therefore written once, generic over the token and without `unsafe`. All sets give the same bits because each
//! operation is exact or correctly rounded.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
use neon::Neon;
use portable::Portable;

/// Floats in a [`Simd::Vector`].
pub(crate) const LANES: usize = 16;

/// Operations on vectors of [`LANES`] floats and on eight-bit integers. All work lane by lane, except `largest`.
pub(crate) trait Simd: Copy + Send + Sync {
    /// [`LANES`] floats.
    type Vector: Copy;
    /// Four eight-bit codes in each lane, prepared for multiplication.
    type Codes: Copy;
    /// [`LANES`] 32-bit integers.
    type Dots: Copy;
    /// The number of vectors of sums that fit in the registers beside the operands of one step of a product.
    const SUMS: usize;
    /// Rows that are multiplied at once: `SUMS`, or half of it where the registers then hold the sums of a whole
    /// panel.
    const ROWS: usize;
    /// Rows of integers that are multiplied at once.
    const DOT_ROWS: usize;
    /// Vectors of a panel whose codes are multiplied at once, 1 or 2.
    const DOT_VECTORS: usize;

    fn splat(self, value: f32) -> Self::Vector;
    fn load(self, floats: &[f32; LANES]) -> Self::Vector;
    fn store(self, vector: Self::Vector, floats: &mut [f32; LANES]);
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `a` where it is larger, else `b`.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The largest lane.
    fn largest(self, a: Self::Vector) -> f32;
    /// `values[0]` where `a < bound`, else `values[1]`.
    fn below(self, a: Self::Vector, bound: f32, values: [Self::Vector; 2]) -> Self::Vector;
    /// 0 where `a < bound`, else `value`.
    #[inline(always)]
    fn zero_below(self, a: Self::Vector, bound: f32, value: Self::Vector) -> Self::Vector {
        self.below(a, bound, [self.splat(0.0), value])
    }
    /// `2^n`, where `n` is in the lowest bits of the representation of `a`.
    fn power_of_two(self, a: Self::Vector) -> Self::Vector;
    /// Converts bf16 numbers, given as bits, to f32.
    fn widen_bf16(self, bits: &[u16; LANES]) -> Self::Vector;
    /// Converts f16 numbers, given as bits, to f32.
    fn widen_f16(self, bits: &[u16; LANES]) -> Self::Vector;
    /// Loads four codes into each lane, the first in the lowest bits. A code is an integer from -128 to 127, plus
    /// 128.
    fn codes(self, words: &[u32; LANES]) -> Self::Codes;
    /// Returns the initial value of sums of products of codes and integers. `sum` is the sum of those integers: a set
    /// that multiplies codes as stored, 128 too large, starts at `-128 * sum` to compensate.
    fn dots(self, sum: i32) -> Self::Dots;
    /// Adds to each lane of `dots` the products of its four codes and the four integers in `numbers`, from -127 to
    /// 127, the first in the lowest bits.
    fn dot(self, codes: Self::Codes, numbers: u32, dots: Self::Dots) -> Self::Dots;
    /// Converts sums to floats, exactly, since they have fewer than 24 bits.
    fn floats(self, dots: Self::Dots) -> Self::Vector;
    /// Writes the bytes of `table` that the lower four bits of each byte of `words` index to `found[0]`, and those
    /// that the upper four bits index to `found[1]`.
    fn look_up(self, words: &[u32; LANES], table: &[u8; 16], found: [&mut [u32; LANES]; 2]);
    /// Prefetches the cache line of `place`.
    fn prefetch<T>(self, place: &T);
    /// Runs `kernel` as code compiled for this instruction set.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;
}

/// Code that is written once for all instruction sets. For [`Simd::vectorize`], `run` must be `#[inline(always)]`, so
/// that it becomes part of the function that is compiled for the set.
pub(crate) trait Kernel {
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set that this processor supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2<false>),
    #[cfg(target_arch = "x86_64")]
    Avx2Vnni(Avx2<true>),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512<false>),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512<true>),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon<false>),
    #[cfg(target_arch = "aarch64")]
    NeonDotprod(Neon<true>),
}

impl Isa {
    /// Returns the widest set that this processor supports.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// Returns all supported sets, the widest first. The last one works on plain arrays and is available on any
    /// processor.
    pub fn available() -> Vec<Self> {
        let portable = Set::Portable(Portable);
        #[cfg(target_arch = "x86_64")]
        let found = [
            Avx512::detect().map(Set::Avx512Vnni),
            Avx512::detect().map(Set::Avx512),
            Avx2::detect().map(Set::Avx2Vnni),
            Avx2::detect().map(Set::Avx2),
            Some(portable),
        ];
        #[cfg(target_arch = "aarch64")]
        let found = [Neon::detect().map(Set::NeonDotprod), Neon::detect().map(Set::Neon), Some(portable)];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let found = [Some(portable)];
        found.into_iter().flatten().map(Self).collect()
    }

    /// Returns the name of the set, such as `AVX2`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2Vnni(_) => "AVX2 VNNI",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni(_) => "AVX-512 VNNI",
            #[cfg(target_arch = "aarch64")]
            Set::Neon(_) => "NEON",
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod(_) => "NEON dotprod",
        }
    }

    /// Runs `kernel` as code compiled for this set.
    pub(crate) fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        self.run(Vectorized(kernel))
    }

    /// Passes the token of this set to `kernel`, whose own code is compiled for the baseline processor.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Set::Portable(simd) => kernel.run(simd),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(simd) => kernel.run(simd),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2Vnni(simd) => kernel.run(simd),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(simd) => kernel.run(simd),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni(simd) => kernel.run(simd),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(simd) => kernel.run(simd),
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod(simd) => kernel.run(simd),
        }
    }
}

/// A kernel that runs another as code compiled for the set of the token.
struct Vectorized<K>(K);

impl<K: Kernel> Kernel for Vectorized<K> {
    type Output = K::Output;

    fn run<S: Simd>(self, simd: S) -> K::Output {
        simd.vectorize(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_processor_of_a_kind_has_is_found() {
        let names: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
        assert_eq!(names.last(), Some(&"portable"));
        assert!(!cfg!(target_arch = "aarch64") || names.contains(&"NEON"), "{names:?}");
        assert_eq!(Isa::best(), Isa::available()[0]);
    }
}
