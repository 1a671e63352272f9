//! From features of tiles to the row of vectors that replaces the placeholders of a prompt.

use candle_core::{Result, Tensor};
use critic::Packing;

use super::geometry::{Geometry, VideoNewline};

/// Packs `projected` `[N, P, C]` with the newline vector `[C]` to `[length, C]`.
pub(super) fn pack(
    projected: &Tensor,
    packing: Packing,
    geometry: &Geometry,
    newline: &Tensor,
) -> Result<Tensor> {
    match packing {
        Packing::AnyResolution { tiles, origin, kept, output } => {
            let base = projected.get(0)?; // [P, C]
            if output.0 == 0 {
                return Ok(base); // a sliver: the whole grid was padding
            }
            let grid = grid(projected, tiles, geometry.patches_per_side)?;
            let picture = if kept.1 == 0 {
                newline.unsqueeze(0)?.repeat((output.0, 1))?
            } else {
                let grid = grid.narrow(0, origin.0, kept.0)?.narrow(1, origin.1, kept.1)?;
                end_rows(&scale(&grid, kept, output)?, newline)?
            };
            Tensor::cat(&[base, picture], 0)
        }
        Packing::Single => Tensor::cat(&[projected.get(0)?, newline.unsqueeze(0)?], 0),
        Packing::Video => video(projected, geometry, newline),
    }
}

/// Tiles 1.. of `[N, P, C]`, row-major over `tiles` rows and columns, as one grid of patches `[rows, columns, C]`.
fn grid(projected: &Tensor, tiles: (usize, usize), side: usize) -> Result<Tensor> {
    let size = projected.dim(2)?;
    projected
        .narrow(0, 1, tiles.0 * tiles.1)?
        .reshape((tiles.0, tiles.1, side, side, size))?
        .permute((0, 2, 1, 3, 4))? // [tile row, row, tile column, column, C]
        .contiguous()?
        .reshape((tiles.0 * side, tiles.1 * side, size))
}

/// Bilinear scaling of `[rows, columns, C]` with half-pixel centres and no antialiasing.
fn scale(grid: &Tensor, from: (usize, usize), to: (usize, usize)) -> Result<Tensor> {
    if from == to {
        return Ok(grid.clone());
    }
    grid.permute((2, 0, 1))? // [C, rows, columns]
        .unsqueeze(0)?
        .contiguous()?
        .upsample_bilinear2d(to.0, to.1, false)?
        .squeeze(0)?
        .permute((1, 2, 0))
}

/// Appends the newline vector to every row of `[rows, columns, C]`, to `[rows * (columns + 1), C]`.
fn end_rows(grid: &Tensor, newline: &Tensor) -> Result<Tensor> {
    let (rows, columns, size) = grid.dims3()?;
    let ends = newline.reshape((1, 1, size))?.repeat((rows, 1, 1))?;
    Tensor::cat(&[grid.contiguous()?, ends], 1)?.reshape((rows * (columns + 1), size))
}

/// Pools every frame of `[N, P, C]` to half its side and puts the frames in a row.
fn video(projected: &Tensor, geometry: &Geometry, newline: &Tensor) -> Result<Tensor> {
    let (frames, _, size) = projected.dims3()?;
    let (side, pooled) = (geometry.patches_per_side, geometry.pooled_side());
    let line = newline.unsqueeze(0)?; // [1, C]
    let mut rows = Vec::new();
    for frame in 0..frames {
        let grid = projected.get(frame)?.reshape((side, side, size))?;
        let grid = scale(&grid, (side, side), (pooled, pooled))?;
        if geometry.video_newline == VideoNewline::Grid {
            rows.push(end_rows(&grid, newline)?);
            continue;
        }
        rows.push(grid.contiguous()?.reshape((pooled * pooled, size))?);
        if geometry.video_newline == VideoNewline::Frame {
            rows.push(line.clone());
        }
    }
    if geometry.video_newline == VideoNewline::OneToken {
        rows.push(line);
    }
    Tensor::cat(&rows, 0)
}
