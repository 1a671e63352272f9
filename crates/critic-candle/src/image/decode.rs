//! Decodes an image file to RGB, as a person would see the image. Called only by [`Loader`](super::Loader).

use std::io::{self, Cursor};

use image::{
    DynamicImage, ImageBuffer, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Pixel, RgbaImage,
};

use super::{
    ImageLimits, RgbImage, jpeg, orientation::orientation, pieces::PNG_SIGNATURE, png_texts::without_texts,
    webp_alpha::with_right_alpha,
};

/// Why an image cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it is in no format that is read")]
    Unknown,
    #[error("it is a {0} of a kind that is not read")]
    Unsupported(&'static str),
    #[error("it is a damaged {0}")]
    Damaged(&'static str, #[source] ImageError),
    #[error("it is a {0} that ends early")]
    CutShort(&'static str),
    #[error("its decoder panicked")]
    Panicked,
}

/// The format and size in the header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) format: ImageFormat,
    /// Width of the stored image, before it is turned upright; the same holds for the height.
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Bytes that a decoder may allocate for anything but pixels, such as colour profiles.
const METADATA_BYTES: u64 = 16 << 20;

/// Reads format and size, without decoding pixels.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let bytes = without_texts(bytes);
    let (format, decoder) = open(&bytes)?;
    let (width, height) = decoder.dimensions();
    Ok(Header { format, width, height })
}

/// Decodes the first frame of a PNG, JPEG, WebP, GIF or BMP to RGB, turned by its orientation and composited on
/// white. Colour profiles are ignored, as in the reference, and so is all other metadata.
pub(crate) fn decode(file: &[u8], limits: &ImageLimits) -> Result<RgbImage, DecodeError> {
    let is_png = file.starts_with(PNG_SIGNATURE);
    let prepared = if is_png { without_texts(file) } else { with_right_alpha(file) };
    let bytes = &*prepared;
    let (format, mut decoder) = open(bytes)?;
    let damaged = |error| failed(format, error);
    let mut bounds = Limits::no_limits();
    bounds.max_image_width = Some(limits.side);
    bounds.max_image_height = Some(limits.side);
    bounds.max_alloc = Some(decoder.total_bytes().saturating_mul(2) + METADATA_BYTES);
    decoder.set_limits(bounds).map_err(damaged)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    if format == ImageFormat::Jpeg && !jpeg::is_whole(file) {
        return Err(DecodeError::CutShort(name(format)));
    }
    image.apply_orientation(orientation(format, file));
    let image = in_bytes(image);
    let rgb = if image.color().has_alpha() { on_white(&image.into_rgba8()) } else { image.into_rgb8() };
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    Ok(RgbImage { width, height, pixels: rgb.into_raw() })
}

/// Reduces channels of 16 bits to their upper eight, as Pillow does; rounding would differ from the reference's
/// pixels. There is one exception: Pillow shows grey of 16 bits without alpha (its mode `I;16`) as numbers up to
/// 255, and everything above as white, so that hardly anything is left of such an image.
fn in_bytes(image: DynamicImage) -> DynamicImage {
    fn upper<P, Q>(image: &ImageBuffer<P, Vec<u16>>) -> ImageBuffer<Q, Vec<u8>>
    where
        P: Pixel<Subpixel = u16>,
        Q: Pixel<Subpixel = u8>,
    {
        let bytes = image.as_raw().iter().map(|number| (number >> 8) as u8).collect();
        ImageBuffer::from_raw(image.width(), image.height(), bytes).expect("as many numbers as before")
    }
    match image {
        DynamicImage::ImageLuma16(image) => DynamicImage::ImageLuma8(upper(&image)),
        DynamicImage::ImageLumaA16(image) => DynamicImage::ImageLumaA8(upper(&image)),
        DynamicImage::ImageRgb16(image) => DynamicImage::ImageRgb8(upper(&image)),
        DynamicImage::ImageRgba16(image) => DynamicImage::ImageRgba8(upper(&image)),
        other => other,
    }
}

/// The format of a file, detected by its first bytes, and a decoder that has read its header.
fn open(bytes: &[u8]) -> Result<(ImageFormat, impl ImageDecoder + '_), DecodeError> {
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| DecodeError::Unknown)?;
    let format = reader.format().filter(ImageFormat::reading_enabled).ok_or(DecodeError::Unknown)?;
    let mut bounds = Limits::no_limits();
    bounds.max_alloc = Some(METADATA_BYTES);
    reader.limits(bounds);
    let decoder = reader.into_decoder().map_err(|error| failed(format, error))?;
    if format == ImageFormat::Jpeg && jpeg::is_misread(bytes) {
        return Err(DecodeError::Unsupported(name(format)));
    }
    Ok((format, decoder))
}

fn failed(format: ImageFormat, error: ImageError) -> DecodeError {
    match error {
        ImageError::Unsupported(_) => DecodeError::Unsupported(name(format)),
        ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            DecodeError::CutShort(name(format))
        }
        error => DecodeError::Damaged(name(format), error),
    }
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        _ => "image",
    }
}

/// Composites on opaque white with the fixed-point arithmetic of Pillow's `alpha_composite` (7 extra bits), so that
/// pixels equal the reference's exactly.
fn on_white(image: &RgbaImage) -> image::RgbImage {
    const BITS: u32 = 7;
    let divide_by_255 = |value: u32| ((value >> 8) + value) >> 8;
    let mut rgb = image::RgbImage::new(image.width(), image.height());
    for (source, target) in image.pixels().zip(rgb.pixels_mut()) {
        let alpha = u32::from(source.0[3]);
        // The result is opaque, so Pillow's weight of the source, alpha * 255 * 255 * 2^7 / (255 * 255), reduces to
        // this.
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

    fn png(image: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn transparent_is_white_and_opaque_is_itself() {
        let mut image = RgbaImage::new(3, 1);
        image.put_pixel(0, 0, image::Rgba([10, 20, 30, 0]));
        image.put_pixel(1, 0, image::Rgba([10, 20, 30, 255]));
        image.put_pixel(2, 0, image::Rgba([0, 0, 0, 128]));
        let decoded = decode(&png(&image.into()), &ImageLimits::default()).unwrap();
        assert_eq!(decoded.pixels, [255, 255, 255, 10, 20, 30, 127, 127, 127]);
    }

    #[test]
    fn of_sixteen_bits_the_upper_eight_are_shown() {
        // Rounded to the nearest byte, each would be one more.
        let [red, green, blue] = [0x12ff, 0x80ff, 0xfdff];
        let mut image = image::ImageBuffer::<image::Rgb<u16>, Vec<u16>>::new(1, 1);
        image.put_pixel(0, 0, image::Rgb([red, green, blue]));
        let shown = decode(&png(&image.into()), &ImageLimits::default()).unwrap();
        assert_eq!(shown.pixels, [0x12, 0x80, 0xfd]);
        let mut image = image::ImageBuffer::<image::LumaA<u16>, Vec<u16>>::new(1, 1);
        image.put_pixel(0, 0, image::LumaA([red, 0xffff]));
        let shown = decode(&png(&image.into()), &ImageLimits::default()).unwrap();
        assert_eq!(shown.pixels, [0x12; 3]);
        // Grey alone too, of which Pillow would make 0x12 and white.
        let grey = image::ImageBuffer::<image::Luma<u16>, Vec<u16>>::from_raw(2, 1, vec![0x12, 0x8034]);
        let shown = decode(&png(&grey.unwrap().into()), &ImageLimits::default()).unwrap();
        assert_eq!(shown.pixels, [0, 0, 0, 0x80, 0x80, 0x80]);
    }

    /// A JPEG with EXIF orientation 6 (tag 0x0112): to be shown after a quarter turn clockwise.
    fn turned_jpeg(image: &DynamicImage) -> Vec<u8> {
        let mut jpeg = Cursor::new(Vec::new());
        image.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
        let jpeg = jpeg.into_inner();
        let tiff = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let length = (tiff.len() as u16 + 2).to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, tiff, &jpeg[2..]].concat()
    }

    #[test]
    fn a_turned_photograph_is_shown_upright() {
        let mut image = image::RgbImage::new(16, 8);
        for (x, _, pixel) in image.enumerate_pixels_mut() {
            *pixel = if x < 8 { image::Rgb([250, 0, 0]) } else { image::Rgb([0, 0, 250]) };
        }
        let shown = decode(&turned_jpeg(&image.into()), &ImageLimits::default()).unwrap();
        assert_eq!((shown.width, shown.height), (8, 16));
        let reddish = |row: usize| shown.pixels[row * 8 * 3] > 200;
        assert!(reddish(1) && !reddish(14), "the left half is on top after a quarter turn clockwise");
    }

    #[test]
    fn every_format_that_is_compiled_in_is_read() {
        let image = DynamicImage::new_rgb8(5, 3);
        for format in [
            image::ImageFormat::Png,
            image::ImageFormat::Jpeg,
            image::ImageFormat::WebP,
            image::ImageFormat::Gif,
            image::ImageFormat::Bmp,
        ] {
            let mut bytes = Cursor::new(Vec::new());
            image.write_to(&mut bytes, format).unwrap();
            let shown = decode(bytes.get_ref(), &ImageLimits::default()).unwrap();
            assert_eq!((shown.width, shown.height), (5, 3), "{format:?}");
            assert_eq!(header(bytes.get_ref()).unwrap(), Header { format, width: 5, height: 3 });
        }
    }

    #[test]
    fn a_photograph_that_ends_early_is_not_shown_half_grey() {
        let mut image = image::RgbImage::new(64, 64);
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            *pixel = image::Rgb([(x * 37 % 256) as u8, (y * 91 % 256) as u8, (x * y % 256) as u8]);
        }
        let whole = turned_jpeg(&image.into());
        assert!(decode(&whole, &ImageLimits::default()).is_ok());
        for sixteenth in 1..16 {
            let part = &whole[..whole.len() * sixteenth / 16];
            assert!(decode(part, &ImageLimits::default()).is_err(), "{sixteenth}/16");
        }
        let other = turned_jpeg(&DynamicImage::new_rgb8(8, 8));
        let half = &whole[..whole.len() / 2];
        let joined = decode(&[half, &other].concat(), &ImageLimits::default());
        assert!(joined.is_err(), "the end is that of another file");
        let several = decode(&[whole.as_slice(), &other].concat(), &ImageLimits::default()).unwrap();
        assert_eq!(several, decode(&whole, &ImageLimits::default()).unwrap(), "of several images the first");
        assert!(matches!(header(b"not a picture"), Err(DecodeError::Unknown)));
        assert!(matches!(header(b"II*\0\x08\0\0\0"), Err(DecodeError::Unknown)), "TIFF is not compiled in");
    }

    #[test]
    fn a_jpeg_that_its_decoder_misreads_is_refused() {
        let file = |name: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/pictures");
            std::fs::read(format!("{folder}/{name}.jpg")).unwrap()
        };
        let shown = |name: &str| decode(&file(name), &ImageLimits::default());
        assert_eq!(shown("jpeg-444-three-scans").unwrap(), shown("jpeg-444-one-scan").unwrap());
        for name in ["jpeg-420-two-scans", "jpeg-420-three-scans", "jpeg-fine-colour"] {
            assert!(matches!(shown(name), Err(DecodeError::Unsupported("JPEG"))), "{name}");
            assert!(matches!(header(&file(name)), Err(DecodeError::Unsupported("JPEG"))), "{name}");
        }
        // Without the scan of its last component, which would be shown as another colour.
        let whole = file("jpeg-444-three-scans");
        let last_scan = whole.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
        let ended = [&whole[..last_scan], &[0xff, 0xd9]].concat();
        assert!(matches!(decode(&ended, &ImageLimits::default()), Err(DecodeError::CutShort("JPEG"))));
    }

    /// The chunks of a WebP behind an extended header with these flags.
    fn extended_webp(webp: &[u8], flags: u8, (width, height): (u8, u8)) -> Vec<u8> {
        let header =
            [b"WEBPVP8X\x0a\0\0\0", &[flags, 0, 0, 0, width - 1, 0, 0, height - 1, 0, 0][..]].concat();
        let length = (header.len() + webp.len() - 12) as u32;
        [b"RIFF", &length.to_le_bytes()[..], &header, &webp[12..]].concat()
    }

    #[test]
    fn what_is_transparent_in_a_webp_is_white_whatever_its_flag_says() {
        let mut hidden = Cursor::new(Vec::new());
        let image = RgbaImage::from_pixel(6, 4, image::Rgba([200, 0, 0, 0]));
        image.write_to(&mut hidden, image::ImageFormat::WebP).unwrap();
        for flags in [0, 0x10] {
            let file = extended_webp(hidden.get_ref(), flags, (6, 4));
            let shown = decode(&file, &ImageLimits::default()).unwrap();
            assert!(shown.pixels.iter().all(|level| *level == 255), "{flags}: {:?}", shown.pixels);
        }
        // Grey, lossy and opaque, of 32 x 16 pixels.
        let opaque = [
            &b"RIFF\x40\0\0\0WEBPVP8 \x34\0\0\0\xd0\x02\0\x9d\x01\x2a\x20\0\x10\0\x3e\xd1\x54\xa3"[..],
            b"\x4b\xa8\x24\xa3\x21\xb0\x08\x01\0\x1a\x09\x40\x13\xa0\x05\xa4\x80\0\xfe\xe9\x68\xe4\x61",
            b"\xa3\x5f\xfe\x37\x8f\xee\x53\xfc\x53\xe4\x16\x4d\x80\0\0",
        ]
        .concat();
        let shown = decode(&opaque, &ImageLimits::default()).unwrap();
        for flags in [0, 0x10] {
            let file = extended_webp(&opaque, flags, (32, 16));
            assert_eq!(decode(&file, &ImageLimits::default()).unwrap(), shown, "{flags}");
        }
    }

    #[test]
    fn the_texts_of_a_png_may_say_how_it_is_turned() {
        let plain = png(&DynamicImage::new_rgb8(6, 4));
        let text = b"XML:com.adobe.xmp\0<a:b tiff:Orientation=\"6\"/>";
        let named = [b"tEXt".as_slice(), text].concat();
        let length = (text.len() as u32).to_be_bytes();
        let behind_header = 33; // the signature, and a chunk of 13 bytes
        let chunk = [&length[..], &named, b"crc."].concat();
        let file = [&plain[..behind_header], &chunk, &plain[behind_header..]].concat();
        let shown = decode(&file, &ImageLimits::default()).unwrap();
        assert_eq!((shown.width, shown.height), (4, 6));
    }
}
