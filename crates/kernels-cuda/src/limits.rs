//! Measures the peak throughput of a GPU.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    draw::Draw,
    error::Result,
    gpu::Gpu,
    matrix_product::{Epilogue, Operands, Shape},
    rows::Rows,
};

/// Numbers that are copied: 512 MiB, more than caches hold.
const NUMBERS: usize = 256 << 20;

/// Rows and columns of the matrices that are multiplied.
const SIDE: usize = 8192;

/// The minimum number of rounds of each measurement.
const ROUNDS: usize = 8;

/// Runs of a round, which are timed together: to submit one and to wait for its end takes some per cent of the time
/// of a copy.
const RUNS: u32 = 8;

/// The name of the GPU of `emulator/`, which is slow.
const EMULATED: &str = "emulated GPU";

/// The minimum duration of each measurement. A GPU that was idle computes faster for a moment than it can sustain.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// The amounts that are copied and multiplied, and how often at least.
struct Sizes {
    numbers: usize,
    side: usize,
    rounds: usize,
    long_enough: Duration,
}

impl Gpu {
    /// Returns the rate of copying in bytes, those read and those written, and the rate of operations of cuBLASLt's
    /// bf16 matrix products, where a multiply-add is two. Both are in 10^9 a second, measured on random numbers,
    /// since a GPU takes less power for equal numbers and is faster then. Takes 1.1 GiB of memory and two seconds.
    ///
    /// # Errors
    /// `Error::OutOfMemory`, `Error::NoKernels`, `Error::Driver` or `Error::Product` if an allocation, a kernel, a
    /// copy or a product fails.
    pub fn limits(self: &Arc<Self>) -> Result<(f64, f64)> {
        let measured = self.measure_limits()?;
        // Otherwise the memory of the measurement would count as in use.
        self.give_back_freed_memory()?;
        Ok(measured)
    }

    fn measure_limits(self: &Arc<Self>) -> Result<(f64, f64)> {
        let sizes = if self.name()? == EMULATED {
            Sizes { numbers: NUMBERS >> 8, side: 512, rounds: 1, long_enough: Duration::ZERO }
        } else {
            Sizes { numbers: NUMBERS, side: SIDE, rounds: ROUNDS, long_enough: LONG_ENOUGH }
        };
        let Sizes { numbers, side, .. } = sizes;
        let (mut from, mut to) = (Rows::empty(self)?, Rows::empty(self)?);
        let rows = 0..numbers / 1024;
        for (key, filled) in [(1, &mut from), (2, &mut to)] {
            filled.room((rows.end, 1024))?;
            Draw { key, centre: 0.0, spread: 1.0 }.fill(filled, rows.clone(), 0)?;
        }
        let mut product = Rows::empty(self)?;
        product.room((side, side))?;
        let shape =
            Shape { rows: side, output: side, input: side, stride: side, epilogue: Epilogue::Replace };
        // Products come before the copies, after which both operands would be the same.
        let multiplying = self.median(&sizes, || {
            let operands = Operands { x: from.numbers.as_view(), weight: to.numbers.as_view(), bias: None };
            self.products.run(shape, &operands, &mut product.numbers.as_view_mut())
        })?;
        let copying = self.median(&sizes, || to.copy(0, &from, rows.clone()))?;
        let bytes = (2 * numbers * size_of::<half::bf16>()) as f64;
        Ok((bytes / copying / 1e9, 2.0 * (side as f64).powi(3) / multiplying / 1e9))
    }

    /// Returns the seconds that `work` takes where one run follows the other: the median of all rounds.
    fn median(&self, sizes: &Sizes, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
        let begin = Instant::now();
        let mut times = Vec::new();
        while times.len() < sizes.rounds || begin.elapsed() < sizes.long_enough {
            self.wait()?;
            let start = Instant::now();
            for _ in 0..RUNS {
                work()?;
            }
            self.wait()?;
            times.push(start.elapsed() / RUNS);
        }
        times.sort_unstable();
        Ok(times[times.len() / 2].as_secs_f64())
    }
}
