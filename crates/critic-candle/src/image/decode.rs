//! Bytes of an image file to RGB, as a person would see the picture.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader, RgbaImage};

use super::RgbImage;

/// Why a picture is not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("{0}")]
    Format(#[from] image::ImageError),
    #[error("it is larger than {limit} pixels")]
    TooLarge { width: u32, height: u32, limit: u64 },
    #[error("it has no pixels")]
    Empty,
}

/// Decodes a PNG, JPEG, WebP, GIF (first frame) or BMP: orientation applied, transparency composited on white, RGB.
/// The size is read from the header and checked against `max_pixels` before a pixel is decoded.
pub(crate) fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, DecodeError> {
    let reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(image::ImageError::from)?;
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(DecodeError::TooLarge { width, height, limit: max_pixels });
    }
    if width == 0 || height == 0 {
        return Err(DecodeError::Empty);
    }
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    let rgb = if picture.color().has_alpha() { on_white(&picture.into_rgba8()) } else { picture.into_rgb8() };
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    Ok(RgbImage { width, height, pixels: rgb.into_raw() })
}

/// Composites on opaque white in the fixed-point arithmetic of Pillow's `alpha_composite` (7 extra bits), so that
/// pixels are the reference's to the last level.
fn on_white(picture: &RgbaImage) -> image::RgbImage {
    const BITS: u32 = 7;
    let divide_by_255 = |value: u32| ((value >> 8) + value) >> 8;
    let mut rgb = image::RgbImage::new(picture.width(), picture.height());
    for (source, target) in picture.pixels().zip(rgb.pixels_mut()) {
        let alpha = u32::from(source.0[3]);
        // The result is opaque, so Pillow's weight of the source, alpha * 255 * 255 * 2^7 / (255 * 255), is this.
        let source_weight = alpha << BITS;
        let white_weight = (255 << BITS) - source_weight;
        for channel in 0..3 {
            let sum = u32::from(source.0[channel]) * source_weight + 255 * white_weight;
            target.0[channel] = (divide_by_255(sum + (0x80 << BITS)) >> BITS) as u8;
        }
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(picture: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn transparent_is_white_and_opaque_is_itself() {
        let mut picture = RgbaImage::new(3, 1);
        picture.put_pixel(0, 0, image::Rgba([10, 20, 30, 0]));
        picture.put_pixel(1, 0, image::Rgba([10, 20, 30, 255]));
        picture.put_pixel(2, 0, image::Rgba([0, 0, 0, 128]));
        let decoded = decode(&png(&picture.into()), 100).unwrap();
        assert_eq!(decoded.pixels, [255, 255, 255, 10, 20, 30, 127, 127, 127]);
    }

    /// A JPEG whose EXIF block says that the camera was turned: value 6 of tag 0x0112, a quarter turn clockwise.
    fn turned_jpeg(picture: &DynamicImage) -> Vec<u8> {
        let mut jpeg = Cursor::new(Vec::new());
        picture.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
        let jpeg = jpeg.into_inner();
        let tiff = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let length = (tiff.len() as u16 + 2).to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, tiff, &jpeg[2..]].concat()
    }

    #[test]
    fn a_turned_photograph_is_shown_upright() {
        let mut picture = image::RgbImage::new(16, 8);
        for (x, _, pixel) in picture.enumerate_pixels_mut() {
            *pixel = if x < 8 { image::Rgb([250, 0, 0]) } else { image::Rgb([0, 0, 250]) };
        }
        let shown = decode(&turned_jpeg(&picture.into()), 1000).unwrap();
        assert_eq!((shown.width, shown.height), (8, 16));
        let reddish = |row: usize| shown.pixels[row * 8 * 3] > 200;
        assert!(reddish(1) && !reddish(14), "the left half is on top after a quarter turn clockwise");
    }

    #[test]
    fn every_format_that_is_compiled_in_is_read() {
        let picture = DynamicImage::new_rgb8(5, 3);
        for format in [
            image::ImageFormat::Png,
            image::ImageFormat::Jpeg,
            image::ImageFormat::WebP,
            image::ImageFormat::Gif,
            image::ImageFormat::Bmp,
        ] {
            let mut bytes = Cursor::new(Vec::new());
            picture.write_to(&mut bytes, format).unwrap();
            let shown = decode(bytes.get_ref(), 100).unwrap();
            assert_eq!((shown.width, shown.height), (5, 3), "{format:?}");
        }
    }

    #[test]
    fn a_large_picture_is_refused_by_its_header() {
        let bytes = png(&DynamicImage::new_rgb8(100, 100));
        assert!(matches!(decode(&bytes, 9_999), Err(DecodeError::TooLarge { width: 100, .. })));
        assert!(matches!(decode(&bytes[..60], 10_000), Err(DecodeError::Format(_))));
        assert!(decode(b"not a picture", 10_000).is_err());
    }
}
