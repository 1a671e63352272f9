//! What a GPU can do at most, measured.

use std::{sync::Arc, time::Instant};

use crate::{
    error::Result,
    gpu::Gpu,
    matrix_product::{After, Shape},
    rows::Rows,
};

/// Numbers that are copied: half a gibibyte, more than caches hold.
const NUMBERS: usize = 256 << 20;

/// Rows and columns of matrices that are multiplied.
const SIDE: usize = 8192;

/// Times that each is done; the shortest counts.
const ROUNDS: usize = 8;

impl Gpu {
    /// Bytes that are moved each second, those read and those written, by copying; and operations each second of products of
    /// bf16 matrices by cuBLASLt, a multiply-add being two. Both in 10^9. Takes a gibibyte of memory, and well under a second.
    ///
    /// # Errors
    /// What the driver says.
    pub fn limits(self: &Arc<Self>) -> Result<(f64, f64)> {
        let side = SIDE.min(if self.multiprocessors()? < 16 { 512 } else { SIDE });
        let numbers = if side == SIDE { NUMBERS } else { NUMBERS >> 8 };
        let (mut from, mut to) = (Rows::empty(self)?, Rows::empty(self)?);
        from.room((numbers / 1024, 1024))?;
        to.room((numbers / 1024, 1024))?;
        let rows = 0..numbers / 1024;
        let copying = self.shortest(|| to.copy(0, &from, rows.clone()))?;
        for rows in [&mut from, &mut to] {
            crate::Draw { key: 1, centre: 0.0, spread: 1.0 }.fill(rows, 0..numbers / 1024, 0)?;
        }
        let mut product = Rows::empty(self)?;
        product.room((side, side))?;
        let shape = Shape { rows: side, output: side, input: side, stride: side, after: After::Replace };
        let multiplying = self.shortest(|| {
            let operands = (&from.numbers.as_view(), &to.numbers.as_view(), None);
            self.products.run(shape, operands, &mut product.numbers.as_view_mut())
        })?;
        let bytes = (2 * numbers * size_of::<half::bf16>()) as f64;
        Ok((bytes / copying / 1e9, 2.0 * (side as f64).powi(3) / multiplying / 1e9))
    }

    /// Seconds that `work` takes at least, from asking for it to its end.
    fn shortest(&self, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
        let mut shortest = f64::INFINITY;
        for _ in 0..ROUNDS {
            self.wait()?;
            let start = Instant::now();
            work()?;
            self.wait()?;
            shortest = shortest.min(start.elapsed().as_secs_f64());
        }
        Ok(shortest)
    }
}
