//! Pictures before the model: decoding, Pillow-exact scaling, and cutting into tiles.

mod decode;
mod resize;
mod rgb;

pub(crate) use decode::{DecodeError, decode};
pub use resize::resize_bicubic;
pub use rgb::RgbImage;
