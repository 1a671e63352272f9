//! Packs features of tiles into the vectors that replace the placeholders of a prompt: each vector is a weighted
//! sum of up to four rows of the features.

use kernels_cuda::Mixture;

use super::geometry::{Geometry, Packing, VideoNewline};

/// Where the features of a visual are: those of tile `t` start at row `first + t * P`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features {
    /// Row of the first tile's first patch.
    pub(super) first: usize,
    /// Number of tiles.
    pub(super) tiles: usize,
    /// Row of the newline vector.
    pub(super) newline: usize,
}

/// The packed vectors of `features`, as mixtures of rows.
pub(super) fn pack(features: Features, packing: Packing, geometry: &Geometry) -> Vec<Mixture> {
    let side = geometry.patches_per_side;
    let patches = side * side;
    let (newline, base) = (row(features.newline), (0..patches).map(|patch| row(features.first + patch)));
    match packing {
        Packing::AnyResolution { tiles, origin, kept, output } => {
            let mut packed: Vec<Mixture> = base.collect();
            if output.0 == 0 {
                return packed; // a very thin image: the whole grid is padding
            }
            if kept.1 == 0 {
                packed.extend(std::iter::repeat_n(newline, output.0));
                return packed;
            }
            // Tiles from 1 on, row-major over `tiles` rows and columns, as one grid of patches; tile 0 is the base
            // tile.
            let patch = |(y, x): (usize, usize)| {
                let (y, x) = (origin.0 + y, origin.1 + x);
                let tile = 1 + y / side * tiles.1 + x / side;
                features.first + tile * patches + y % side * side + x % side
            };
            scale(&mut packed, (kept, output), patch, Some(newline));
            packed
        }
        Packing::Single => base.chain([newline]).collect(),
        Packing::Video => {
            let pooled = geometry.pooled_side();
            let mut packed = Vec::new();
            for frame in 0..features.tiles {
                let patch = |(y, x): (usize, usize)| features.first + frame * patches + y * side + x;
                let end = (geometry.video_newline == VideoNewline::Grid).then_some(newline);
                scale(&mut packed, ((side, side), (pooled, pooled)), patch, end);
                if geometry.video_newline == VideoNewline::Frame {
                    packed.push(newline);
                }
            }
            if geometry.video_newline == VideoNewline::OneToken {
                packed.push(newline);
            }
            packed
        }
    }
}

/// One row, unchanged.
fn row(index: usize) -> Mixture {
    Mixture { rows: [index as u32; 4], weights: [1.0, 0.0, 0.0, 0.0] }
}

/// Scales a grid of (rows, columns) bilinearly, with half-pixel centres and no antialiasing; `patch` maps a place
/// (y, x) to its row of features. Appends `end`, if given, after every row of the result.
fn scale(
    packed: &mut Vec<Mixture>,
    (from, to): ((usize, usize), (usize, usize)),
    patch: impl Fn((usize, usize)) -> usize,
    end: Option<Mixture>,
) {
    for y in 0..to.0 {
        let (above, below, lower) = between(y, from.0, to.0);
        for x in 0..to.1 {
            if from == to {
                packed.push(row(patch((y, x))));
                continue;
            }
            let (left, right, righter) = between(x, from.1, to.1);
            let places = [(above, left), (above, right), (below, left), (below, right)];
            packed.push(Mixture {
                rows: places.map(|place| patch(place) as u32),
                weights: [
                    (1.0 - lower) * (1.0 - righter),
                    (1.0 - lower) * righter,
                    lower * (1.0 - righter),
                    lower * righter,
                ],
            });
        }
        packed.extend(end);
    }
}

/// The two source places, of `from`, between which target place `index`, of `to`, lies, and the weight of the
/// second one. In f32, as in torch.
fn between(index: usize, from: usize, to: usize) -> (usize, usize, f32) {
    let place = ((index as f32 + 0.5) * (from as f32 / to as f32) - 0.5).max(0.0);
    let first = (place as usize).min(from - 1);
    (first, (first + 1).min(from - 1), place - first as f32)
}
