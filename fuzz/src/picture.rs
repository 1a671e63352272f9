//! Arbitrary bytes as an image: refused, or encoded in as many tokens as features and in whole tiles, tiled as the
//! reference tiles an image of the size that another use of the decoder finds, in no more memory than was planned for
//! it.

use std::io::Cursor;

use critic::{EncodedImage, ImageTiling, Medium, Message, Part, Prompt, Role, Visual};
use critic_candle::Packing;
use image::{ImageDecoder, ImageReader, metadata::Orientation};

use super::{bytes::Bytes, memory::taken, prompt::processor, sizes::cuts};

/// Bytes that a pixel may take while it is decoded, and bytes that a decoder may allocate for other things.
const BYTES_PER_PIXEL: usize = 18;
const OTHERS: usize = 24 << 20;

/// Panics when the tokens, tiles and features of an image do not agree, or encoding it takes too much memory.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let how = bytes.byte();
    let image = EncodedImage::new(bytes.0);
    let part = || match how % 4 {
        0 => vec![Part::Image(image.clone())],
        1 => vec![Part::Image(image.clone()), Part::Image(image.clone())],
        2 => vec![Part::Video(vec![image.clone(), image.clone()])],
        _ => vec![Part::Text("?".into()), Part::Image(image.clone())],
    };
    let tiling = if how & 4 == 0 { ImageTiling::Trained } else { ImageTiling::OwnResolution };
    let prompt =
        Prompt { messages: vec![Message { role: Role::User, parts: part() }], tiling, ..Prompt::default() };
    let (encoded, taken) = taken(|| processor().encode(&prompt));
    let Ok(encoded) = encoded else {
        // A square of one megapixel, which is the limit here, and what a decoder allocates for other things.
        assert!(taken.peak <= OTHERS + (1 << 20) * (BYTES_PER_PIXEL + 3 * 200), "{taken:?} for no picture");
        return;
    };
    let (width, height) = size(bytes.0, encoded.visuals.first().map(|visual| visual.medium));
    let pixels = width * height * BYTES_PER_PIXEL + width.max(height).pow(2) * 3;
    assert!(taken.peak <= OTHERS + 2 * pixels, "{taken:?} for {width}x{height}");
    assert!(!encoded.visuals.is_empty());
    let mut end = 0;
    for visual in &encoded.visuals {
        assert!(visual.start >= end && visual.length > 0, "pictures lie one after another");
        end = visual.start + visual.length;
        assert!(end <= encoded.tokens.len(), "a picture ends where the prompt does");
        let placeholder = encoded.tokens[visual.start];
        assert!(encoded.tokens[visual.start..end].iter().all(|token| *token == placeholder));
        check_tiles(visual, (how, tiling), (height, width));
    }
    let least = processor().least_tokens(&prompt, 1).expect("a picture that can be read has a header");
    assert!(least <= encoded.tokens.len(), "{least} tokens at least, and it has {}", encoded.tokens.len());
}

fn check_tiles(visual: &Visual, (how, tiling): (u8, ImageTiling), size: (usize, usize)) {
    let bytes = visual.tiles.size * visual.tiles.size * 3;
    assert!(visual.tiles.count() > 0 && visual.tiles.pixels.len() == bytes * visual.tiles.count());
    let (height, width) = size;
    let medium = if how % 4 == 2 { Medium::Video } else { Medium::Image { height, width } };
    assert_eq!(visual.medium, medium);
    let alone = how % 4 == 0 || how % 4 == 3;
    if alone || (how % 4 == 1 && tiling == ImageTiling::OwnResolution) {
        let (packing, features) = cuts()[1].plan(size);
        assert_eq!(visual.length, features, "{size:?}");
        if let Packing::AnyResolution { tiles: (rows, columns), .. } = packing {
            assert_eq!(visual.tiles.count(), 1 + rows * columns);
        }
    }
}

/// Width and height of the image as it is displayed, from another reader of its header and its EXIF block. Of metadata
/// that this one does not read, and that may turn the image, only the effect that was `found` is known.
fn size(file: &[u8], found: Option<Medium>) -> (usize, usize) {
    let reader = ImageReader::new(Cursor::new(file)).with_guessed_format().expect("bytes can be read");
    let mut decoder = reader.into_decoder().expect("it was read");
    let (across, down) = decoder.dimensions();
    let (across, down) = (across as usize, down as usize);
    let (width, height) = match decoder.orientation() {
        Ok(
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH,
        ) => (down, across),
        _ => (across, down),
    };
    let is_turned = found == Some(Medium::Image { height: width, width: height });
    if is_turned && has_other_metadata(file) { (height, width) } else { (width, height) }
}

/// Whether there may be an orientation in XMP or in a text of a PNG, or one in a WebP without the flag for it.
fn has_other_metadata(file: &[u8]) -> bool {
    let signs: [&[u8]; 3] = [b"tiff:Orientation", b"XML:com.adobe.xmp", b"Raw profile type exif"];
    file.starts_with(b"RIFF") || signs.iter().any(|sign| file.windows(sign.len()).any(|part| part == *sign))
}
