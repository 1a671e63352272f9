//! Pictures before the model: decoding, Pillow-exact scaling, and cutting into tiles.

mod decode;
mod resize;
mod rgb;
mod tile_cache;

pub(crate) use decode::{DecodeError, decode};
pub use resize::resize_bicubic;
pub use rgb::RgbImage;
pub(crate) use tile_cache::{Cut, TileCache};
