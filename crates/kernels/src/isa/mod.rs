//! Vectors of 16 floats, and the instruction sets that have them.
//!
//! A type that implements [`Simd`] is a token: to hold one is to know that the processor has the instructions. So
//! kernels are written once, generic over the token and without `unsafe`, and all sets give the same bits because each
//! operation is exactly rounded or exact.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use avx512::Avx512;
use portable::Portable;

/// Floats in a [`Simd::Vector`].
pub(crate) const LANES: usize = 16;

/// Operations on vectors of [`LANES`] floats. All are lane by lane, except `largest`.
pub(crate) trait Simd: Copy + Send + Sync {
    /// [`LANES`] floats.
    type Vector: Copy;
    /// Vectors of sums that fit in the registers beside what a step of a product loads.
    const SUMS: usize;
    /// Rows that are multiplied at once: as many as there are sums, or half as many where the registers then hold the
    /// sums of a whole panel.
    const ROWS: usize;

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
    /// 0 where `a < bound`, else `value`.
    fn zero_below(self, a: Self::Vector, bound: f32, value: Self::Vector) -> Self::Vector;
    /// `2^n`, where the lowest bits of the number that `a` is in memory are `n`.
    fn power_of_two(self, a: Self::Vector) -> Self::Vector;
    /// bf16 numbers, given by their bits.
    fn widen_bf16(self, bits: &[u16; LANES]) -> Self::Vector;
    /// f16 numbers, given by their bits.
    fn widen_f16(self, bits: &[u16; LANES]) -> Self::Vector;
    /// Whole numbers.
    fn widen_i8(self, codes: &[i8; LANES]) -> Self::Vector;
    /// Of `levels` those that the eight lots of four bits of each lane name, the lowest bits first.
    fn look_up(self, codes: &[u32; LANES], levels: &[i8; 16]) -> [Self::Vector; 8];
    /// Asks for the cache line of `place` before it is needed.
    fn prefetch<T>(self, place: &T);
    /// Runs `kernel` as code of this instruction set.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;
}

/// Something that is written once for all instruction sets. `run` is to be `#[inline(always)]`, so that it becomes a
/// part of the function that is compiled for the set.
pub(crate) trait Kernel {
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Isa {
    /// The widest one.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// All, the widest first. The last one is made of plain floats and is there on any processor.
    pub fn available() -> Vec<Self> {
        let portable = Set::Portable(Portable);
        #[cfg(target_arch = "x86_64")]
        let found = [Avx512::detect().map(Set::Avx512), Avx2::detect().map(Set::Avx2), Some(portable)];
        #[cfg(not(target_arch = "x86_64"))]
        let found = [Some(portable)];
        found.into_iter().flatten().map(Self).collect()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "AVX-512",
        }
    }

    /// Hands `kernel` the token of this set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Set::Portable(simd) => kernel.run(simd),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(simd) => kernel.run(simd),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(simd) => kernel.run(simd),
        }
    }
}
