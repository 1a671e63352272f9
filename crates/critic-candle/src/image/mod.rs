//! Image preprocessing: loading within limits, scaling with Pillow's exact results, and a cache of tiles.

mod decode;
mod exif;
mod jpeg;
mod loader;
mod memory;
#[cfg(test)]
mod memory_tests;
mod orientation;
mod pieces;
mod png_texts;
mod resize;
mod rgb;
mod tile_cache;
mod webp_alpha;

pub use loader::ImageLimits;
pub(crate) use loader::{Loader, Padding};
pub use resize::resize_bicubic;
pub use rgb::RgbImage;
pub(crate) use tile_cache::{Cut, TileCache};
