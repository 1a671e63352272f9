//! Valid images, from which others are derived.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Luma, Rgb, RgbImage};

use super::BuildError;

/// The side of the uniform squares in the pattern of blocks: JPEG preserves them exactly, whatever the
/// orientation.
const BLOCK: u32 = 16;

/// Draws an image with a pattern: `gradient`, which compresses well, if `None`.
pub(super) fn draw(pattern: Option<&[u8]>, (width, height): (u32, u32)) -> Result<DynamicImage, BuildError> {
    let rgb = |colour: &dyn Fn(u32, u32) -> [u8; 3]| {
        DynamicImage::from(RgbImage::from_fn(width, height, |x, y| Rgb(colour(x, y))))
    };
    Ok(match pattern {
        None | Some(b"gradient") => {
            rgb(&|x, y| [(x * 255 / width.max(1)) as u8, (y * 255 / height.max(1)) as u8, 128])
        }
        Some(b"blocks") => rgb(&|x, y| {
            let (x, y) = (x / BLOCK, y / BLOCK);
            [(x * 70 % 256) as u8, (y * 90 % 256) as u8, ((x * 5 + y * 3) * 20 % 256) as u8]
        }),
        Some(b"white") => rgb(&|_, _| [255; 3]),
        Some(b"black") => rgb(&|_, _| [0; 3]),
        // The two extremes of a channel, and nothing in between.
        Some(b"checkers") => rgb(&|x, y| [if (x + y) % 2 == 0 { 0 } else { 255 }; 3]),
        Some(b"noise") => rgb(&|x, y| {
            let mixed = (x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca77)).wrapping_mul(0xc2b2_ae3d);
            [(mixed >> 24) as u8, (mixed >> 16) as u8, (mixed >> 8) as u8]
        }),
        Some(b"white16") => {
            DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(width, height, Luma([u16::MAX])))
        }
        // Invisible stripes: every pixel is transparent.
        Some(b"hidden") => DynamicImage::from(image::RgbaImage::from_fn(width, height, |x, _| {
            image::Rgba([if x / 4 % 2 == 0 { 0 } else { 255 }, 0, 0, 0])
        })),
        Some(b"grey") => DynamicImage::from(image::GrayImage::from_fn(width, height, |x, y| {
            Luma([((x / BLOCK + y / BLOCK) * 40 % 256) as u8])
        })),
        Some(other) => return Err(BuildError::Unknown(String::from_utf8_lossy(other).into_owned())),
    })
}

/// The image as it must be stored so that its EXIF orientation, 1 to 8, displays it as `shown`.
pub(super) fn stored(shown: DynamicImage, orientation: usize) -> DynamicImage {
    match orientation {
        2 => shown.fliph(),
        3 => shown.rotate180(),
        4 => shown.flipv(),
        5 => shown.rotate90().fliph(),
        6 => shown.rotate270(),
        7 => shown.rotate270().fliph(),
        8 => shown.rotate90(),
        _ => shown,
    }
}

/// Encodes an image in a format.
pub(super) fn write(image: &DynamicImage, format: &[u8]) -> Result<Vec<u8>, BuildError> {
    let format = match format {
        b"png" => ImageFormat::Png,
        b"jpeg" => ImageFormat::Jpeg,
        b"webp" => ImageFormat::WebP,
        b"gif" => ImageFormat::Gif,
        b"bmp" => ImageFormat::Bmp,
        other => return Err(BuildError::Unknown(String::from_utf8_lossy(other).into_owned())),
    };
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format)?;
    Ok(file.into_inner())
}
