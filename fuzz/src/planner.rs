//! A second implementation of how an image of some size is tiled, after the reference's Python.

use critic_candle::Packing;

/// How images are tiled for a critic.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Side of a tile, in pixels.
    pub tile: usize,
    /// Side of a tile, in patches.
    pub side: usize,
    /// Sizes of grids, height and width in pixels.
    pub grids: &'static [(usize, usize)],
    /// Maximum number of features of the grid, in tiles.
    pub most_tiles: usize,
}

impl Cut {
    /// The packing of an image that is alone in its prompt, and the number of its features.
    pub fn plan(&self, (height, width): (usize, usize)) -> (Packing, usize) {
        let grid = self.best(height, width);
        let tiles = (grid.0 / self.tile, grid.1 / self.tile);
        let (rows, columns) = (tiles.0 * self.side, tiles.1 * self.side);
        // Integers in the place of the reference's quotients, whose rounding to seven digits makes the results the
        // same.
        let (origin, kept) = if width * rows > columns * height {
            let margin = (rows - rounded(height * columns, width).min(rows)) / 2;
            ((margin, 0), (rows - 2 * margin, columns))
        } else {
            let margin = (columns - rounded(width * rows, height).min(columns)) / 2;
            ((0, margin), (rows, columns - 2 * margin))
        };
        let times = ((kept.0 * kept.1) as f64 / (self.most_tiles * self.side * self.side) as f64).sqrt();
        let output = if times > 1.1 { (times_in(kept.0, times), times_in(kept.1, times)) } else { kept };
        let packing = Packing::AnyResolution { tiles, origin, kept, output };
        (packing, self.side * self.side + output.0 * (output.1 + 1))
    }

    /// `select_best_resolution`.
    fn best(&self, height: usize, width: usize) -> (usize, usize) {
        let mut best = (self.grids[0], 0, usize::MAX);
        for grid in self.grids {
            let scale = (grid.1 as f64 / width as f64).min(grid.0 as f64 / height as f64);
            let shown = (width as f64 * scale) as usize * ((height as f64 * scale) as usize);
            let effective = shown.min(width * height);
            let wasted = grid.0 * grid.1 - effective;
            if effective > best.1 || (effective == best.1 && wasted < best.2) {
                best = (*grid, effective, wasted);
            }
        }
        best.0
    }
}

/// `int(round(a / b, 7))`.
fn rounded(a: usize, b: usize) -> usize {
    let ten = 10_u128.pow(7);
    let (a, b) = (a as u128, b as u128);
    (((2 * a * ten + b) / (2 * b)) / ten) as usize
}

/// `int(whole // times)`: how many times `times` fits into `whole`, by trying.
fn times_in(whole: usize, times: f64) -> usize {
    let goes = |count: usize| (count as f64).mul_add(times, -(whole as f64)) <= 0.0;
    (0..=whole).rev().find(|count| goes(*count)).unwrap_or(0)
}
