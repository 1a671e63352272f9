//! Any-resolution geometry: the grid of an image, its place in the grid, and the number of its features.
//!
//! All arithmetic is in f64 with Python's truncation, as in both implementations; they differ in one rounding.

use critic::Medium;

/// How images are cut, read from a checkpoint's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Geometry {
    /// Width and height of a tile in pixels.
    pub tile_size: usize,
    /// Patches along one side of a tile.
    pub patches_per_side: usize,
    /// Sizes that a grid may have, (height, width) in pixels, in the configuration's order.
    pub grid_sizes: Vec<(usize, usize)>,
    /// Grids with more features than this many tiles have are scaled down (`anyres_max_N`); `None` for no bound.
    pub max_tiles: Option<usize>,
    /// Whether a kept length is rounded to 7 digits before it is truncated, as Hugging Face's code does and the
    /// native code does not.
    pub rounds_kept_length: bool,
    /// Where newline vectors are placed in the features of a video.
    pub video_newline: VideoNewline,
}

/// Where newline vectors are placed in the features of a video (`mm_newline_position`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoNewline {
    /// One at the end of the video.
    OneToken,
    /// One after each row of each frame.
    Grid,
    /// One after each frame.
    Frame,
    /// No newline vectors.
    NoToken,
}

/// How the features of tiles become the feature vectors that replace the placeholders in a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packing {
    /// An image at its own resolution: the features of the base tile, then those of a grid of tiles, with the padding
    /// cropped, scaled down when there are too many, and with the newline vector after each row.
    AnyResolution {
        /// Tiles of the grid, rows and columns.
        tiles: (usize, usize),
        /// First row and column of patches that show the image and not its padding.
        origin: (usize, usize),
        /// Rows and columns of patches that are kept.
        kept: (usize, usize),
        /// Rows and columns after scaling down; equal to `kept` when nothing is scaled.
        output: (usize, usize),
    },
    /// An image as one tile: its features and one newline vector.
    Single,
    /// A video: each tile is a frame, pooled to half the rows and columns; the checkpoint configures the newline
    /// vectors.
    Video,
}

/// The place of an image in its grid, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Height and width of the grid.
    pub grid: (usize, usize),
    /// Height and width that the image is scaled to.
    pub scaled: (usize, usize),
    /// First row and column of the image; the rest is black.
    pub origin: (usize, usize),
}

impl Geometry {
    /// The grid, (height, width) in pixels, that keeps most pixels of an image of `height` x `width` pixels and,
    /// among those, wastes fewest.
    ///
    /// The native code lists sizes as (width, height) and Hugging Face's as (height, width); in both, the first of
    /// equal sizes in the list is taken.
    pub fn best_grid(&self, height: usize, width: usize) -> (usize, usize) {
        let mut best = (self.grid_sizes[0], 0, usize::MAX);
        for (grid_height, grid_width) in &self.grid_sizes {
            let scale = (*grid_width as f64 / width as f64).min(*grid_height as f64 / height as f64);
            let scaled = (height as f64 * scale) as usize * (width as f64 * scale) as usize;
            let effective = scaled.min(height * width);
            let wasted = grid_height * grid_width - effective;
            if effective > best.1 || (effective == best.1 && wasted < best.2) {
                best = ((*grid_height, *grid_width), effective, wasted);
            }
        }
        best.0
    }

    /// The place of an image of `height` x `width` pixels in its best grid.
    pub fn place(&self, height: usize, width: usize) -> Placement {
        let (grid_height, grid_width) = self.best_grid(height, width);
        let horizontal = grid_width as f64 / width as f64;
        let vertical = grid_height as f64 / height as f64;
        let scaled = if horizontal < vertical {
            (((height as f64 * horizontal).ceil() as usize).min(grid_height), grid_width)
        } else {
            (grid_height, ((width as f64 * vertical).ceil() as usize).min(grid_width))
        };
        Placement {
            grid: (grid_height, grid_width),
            scaled,
            origin: ((grid_height - scaled.0) / 2, (grid_width - scaled.1) / 2),
        }
    }

    /// How the features of `tiles` tiles of `medium` are packed. An image at its own resolution has at least two tiles,
    /// the base tile and one in its grid.
    pub fn packing(&self, medium: Medium, tiles: usize) -> Packing {
        match medium {
            Medium::Video => Packing::Video,
            Medium::Image { .. } if tiles == 1 => Packing::Single,
            Medium::Image { height, width } => self.pack(height, width),
        }
    }

    /// How the features of an image of `height` x `width` pixels at its own resolution are packed.
    pub fn pack(&self, height: usize, width: usize) -> Packing {
        let (grid_height, grid_width) = self.best_grid(height, width);
        let tiles = (grid_height / self.tile_size, grid_width / self.tile_size);
        let (rows, columns) = (tiles.0 * self.patches_per_side, tiles.1 * self.patches_per_side);
        let (height, width) = (height as f64, width as f64);
        let mut origin = (0, 0);
        if width / height > columns as f64 / rows as f64 {
            let kept = self.truncate(height * (columns as f64 / width));
            origin.0 = (rows - kept.min(rows)) / 2;
        } else {
            let kept = self.truncate(width * (rows as f64 / height));
            origin.1 = (columns - kept.min(columns)) / 2;
        }
        // The margin is rounded down and cut off on both sides, so one row or column more than computed may be kept.
        let kept = (rows - 2 * origin.0, columns - 2 * origin.1);
        Packing::AnyResolution { tiles, origin, kept, output: self.scale_down(kept) }
    }

    /// Rows and columns after the bilinear scaling of large grids.
    fn scale_down(&self, kept: (usize, usize)) -> (usize, usize) {
        let Some(max_tiles) = self.max_tiles else { return kept };
        let room = (max_tiles * self.patches_per_side * self.patches_per_side) as f64;
        let ratio = ((kept.0 * kept.1) as f64 / room).sqrt();
        if ratio <= 1.1 {
            return kept; // the reference tolerates ten percent before it scales
        }
        (floor_divide(kept.0 as f64, ratio), floor_divide(kept.1 as f64, ratio))
    }

    fn truncate(&self, length: f64) -> usize {
        if !self.rounds_kept_length {
            return length as usize;
        }
        // Python's round(x, 7) is the nearest decimal, which formatting computes exactly.
        let rounded: f64 = format!("{length:.7}").parse().expect("a formatted float parses");
        rounded as usize
    }

    /// Number of feature vectors of a visual with this packing. `tiles` counts only for a video: its frames.
    pub fn feature_count(&self, packing: &Packing, tiles: usize) -> usize {
        let base = self.patches_per_side * self.patches_per_side;
        match packing {
            Packing::AnyResolution { output: (rows, columns), .. } => base + rows * (columns + 1),
            Packing::Single => base + 1,
            Packing::Video => {
                let side = self.pooled_side();
                match self.video_newline {
                    VideoNewline::OneToken => tiles * side * side + 1,
                    VideoNewline::Grid => tiles * side * (side + 1),
                    VideoNewline::Frame => tiles * (side * side + 1),
                    VideoNewline::NoToken => tiles * side * side,
                }
            }
        }
    }

    /// Upper bound of the feature vectors of an image of any size.
    pub fn most_features(&self) -> usize {
        let side = |length: usize| length / self.tile_size * self.patches_per_side;
        let features = |(height, width): &(usize, usize)| side(*height) * (side(*width) + 1);
        let grids = self.grid_sizes.iter().map(features);
        self.patches_per_side * self.patches_per_side + grids.max().unwrap_or(0)
    }

    /// Rows and columns of a video frame after pooling with stride 2.
    pub fn pooled_side(&self) -> usize {
        self.patches_per_side.div_ceil(2)
    }
}

/// Python's `a // b` for positive floats. It subtracts the exact remainder first, so where a / b rounds up to a whole
/// number the result is one less than the floor of the quotient.
fn floor_divide(a: f64, b: f64) -> usize {
    let whole = (a - a % b) / b;
    let floor = whole.floor();
    if whole - floor > 0.5 { floor as usize + 1 } else { floor as usize }
}
