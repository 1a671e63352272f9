//! Images and videos as the vision tower takes them: square tiles, and the place of their features in a prompt.

use std::sync::Arc;

/// SHA-256 over a visual's cache scope, medium, tile size and pixels; visuals with equal hashes have equal features.
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

/// What the tiles of a [`Visual`] were cut from. Together with their number it tells a model how to arrange their
/// features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Medium {
    /// An image of this size in pixels, as it is displayed.
    Image {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// A video, whose tiles are those of its frames in order.
    Video,
}

/// One image or video of a prompt and the span of placeholder tokens that its features fill.
#[derive(Debug, Clone)]
pub struct Visual {
    /// Index of its first placeholder in the tokens of the prompt.
    pub start: usize,
    /// Number of placeholders, which is the number of feature vectors that the model makes of the tiles.
    pub length: usize,
    /// Its pixels.
    pub tiles: Arc<Tiles>,
    /// What the tiles were cut from.
    pub medium: Medium,
    /// Identifies its content.
    pub hash: ContentHash,
}
