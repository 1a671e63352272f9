//! A decoded image.

/// `width * height` RGB pixels, row-major, one byte per channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height * width * 3` bytes.
    pub pixels: Vec<u8>,
}

impl RgbImage {
    /// An image of one colour.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Self {
        Self { width, height, pixels: colour.repeat(width * height) }
    }

    /// Copies `other` into this image with its upper left corner at (`left`, `top`), where it must fit.
    pub fn paste(&mut self, other: &Self, left: usize, top: usize) {
        for row in 0..other.height {
            let from = row * other.width * 3;
            let to = ((top + row) * self.width + left) * 3;
            let bytes = other.width * 3;
            self.pixels[to..to + bytes].copy_from_slice(&other.pixels[from..from + bytes]);
        }
    }

    /// Appends the square of `size` pixels whose upper left corner is (`left`, `top`) to `tiles`.
    pub(crate) fn append_square(&self, left: usize, top: usize, size: usize, tiles: &mut Vec<u8>) {
        for row in top..top + size {
            let from = (row * self.width + left) * 3;
            tiles.extend_from_slice(&self.pixels[from..from + size * 3]);
        }
    }
}
