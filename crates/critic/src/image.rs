//! Images as the vision tower takes them: square tiles, and how their features are packed into a prompt.

use std::sync::Arc;

/// SHA-256 over a visual's tile size, packing and pixels; visuals with equal hashes have equal features.
pub type ContentHash = [u8; 32];

/// Square RGB tiles of one image or video, `[count, size, size, 3]`, row-major bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiles {
    /// Width and height of a tile in pixels.
    pub size: usize,
    /// `count * size * size * 3` bytes; tile after tile, row after row, R G B.
    pub pixels: Vec<u8>,
}

impl Tiles {
    /// Number of tiles.
    pub fn count(&self) -> usize {
        self.pixels.len() / (self.size * self.size * 3)
    }

    /// The bytes of tile `index`, `[size, size, 3]`.
    pub fn tile(&self, index: usize) -> &[u8] {
        let bytes = self.size * self.size * 3;
        &self.pixels[index * bytes..(index + 1) * bytes]
    }
}

/// How the features of the tiles become the feature vectors that replace the placeholders in a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packing {
    /// One image at any resolution: the features of the base tile, then those of a grid of tiles, with the padding
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
    /// One of several images: one tile, its features and one newline vector.
    Single,
    /// A video: each tile is a frame, pooled to half the rows and columns; the checkpoint configures the newline
    /// vectors.
    Video,
}

/// One image or video of a prompt and the span of placeholder tokens that its features fill.
#[derive(Debug, Clone)]
pub struct Visual {
    /// Index of its first placeholder in the tokens of the prompt.
    pub start: usize,
    /// Number of placeholders, which is the number of feature vectors after packing.
    pub length: usize,
    /// Its pixels.
    pub tiles: Arc<Tiles>,
    /// How the features of the tiles are packed.
    pub packing: Packing,
    /// Identifies its content.
    pub hash: ContentHash,
}
