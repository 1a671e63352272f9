//! Measures the peak arithmetic and memory throughput of this machine, with which benchmarks are compared.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use rayon::prelude::*;

use crate::isa::{Isa, Kernel, LANES, Simd};

/// The duration of one measurement of arithmetic: long enough for clock frequencies to settle.
const SPAN: Duration = Duration::from_millis(60);

/// The number of measurements of each limit. The best one counts, since other work on the machine can only slow one
/// down.
const TRIES: usize = 10;

/// Independent sums: more than the multiply-adds that are in flight at once.
const CHAINS: usize = 12;

const STEPS: usize = 1 << 14;

/// The prefetch distance in steps: 4 KiB, as in the products.
const AHEAD: usize = 16;

/// Multiply-adds that need no memory.
struct Multiply;

impl Kernel for Multiply {
    type Output = [f32; LANES];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [f32; LANES] {
        let factor = simd.splat(black_box(0.999));
        let mut chains = [simd.splat(black_box(1.0)); CHAINS];
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = simd.fma(*chain, factor, factor);
            }
        }
        let mut floats = [0.0; LANES];
        let sum = chains.into_iter().fold(simd.splat(0.0), |sum, chain| simd.add(sum, chain));
        simd.store(sum, &mut floats);
        floats
    }
}

/// One pass over memory.
struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    type Output = [f32; LANES];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [f32; LANES] {
        let mut sums = [simd.splat(0.0); 4];
        let steps = self.0.as_chunks::<LANES>().0.as_chunks::<4>().0;
        for (index, floats) in steps.iter().enumerate() {
            // Hardware prefetchers stop at page boundaries.
            if let Some(ahead) = steps.get(index + AHEAD) {
                ahead.iter().for_each(|line| simd.prefetch(line));
            }
            for (sum, floats) in sums.iter_mut().zip(floats) {
                *sum = simd.add(*sum, simd.load(floats));
            }
        }
        let mut floats = [0.0; LANES];
        simd.store(sums.into_iter().fold(simd.splat(0.0), |a, b| simd.add(a, b)), &mut floats);
        floats
    }
}

/// Returns the rate of multiply-adds of all threads together, in 10^9 operations a second; a multiply-add counts as
/// two.
pub fn arithmetic(isa: Isa) -> f64 {
    (0..TRIES).map(|_| arithmetic_once(isa)).fold(0.0, f64::max)
}

fn arithmetic_once(isa: Isa) -> f64 {
    let threads = rayon::current_num_threads();
    let begin = Instant::now();
    let rounds: usize = (0..threads)
        .into_par_iter()
        .with_max_len(1)
        .map(|_| {
            let mut rounds = 0;
            while begin.elapsed() < SPAN {
                black_box(isa.vectorize(Multiply));
                rounds += 1;
            }
            rounds
        })
        .sum();
    (rounds * STEPS * CHAINS * LANES * 2) as f64 / begin.elapsed().as_secs_f64() / 1e9
}

/// Returns the rate at which all threads together read `floats`, in 10^9 bytes a second.
pub fn reading(isa: Isa, floats: &[f32]) -> f64 {
    let part = floats.len().div_ceil(rayon::current_num_threads()).max(1);
    let pass = || {
        let begin = Instant::now();
        floats.par_chunks(part).for_each(|part| {
            black_box(isa.vectorize(Read(part)));
        });
        size_of_val(floats) as f64 / begin.elapsed().as_secs_f64() / 1e9
    };
    (0..TRIES).map(|_| pass()).fold(0.0, f64::max)
}
