//! Manipulations of a request's images.

use std::io::Cursor;

use base64::{Engine, prelude::BASE64_STANDARD};
use font8x8::legacy::BASIC_LEGACY;
use image::{ImageFormat, Rgb, RgbImage, imageops};
use serde::Serialize;

/// A manipulation of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The text is written at the lower edge, black on white.
    Write,
    /// The text is written across the middle, half transparent.
    Mark,
    /// The image is brighter.
    Brighter,
    /// The image is darker.
    Darker,
    /// The colours are more saturated.
    Vivid,
    /// The image has a golden frame.
    Border,
    /// Thin red boxes highlight its quarters.
    Boxes,
    /// The image is four times as wide and high; writing appears only if it is scaled down without averaging.
    Hidden,
    /// The image is uniformly grey.
    Blank,
    /// The image is removed.
    Removed,
    /// The image is replaced with that of another item.
    OtherImage,
}

const SCALE: u32 = 4;
const GREY: Rgb<u8> = Rgb([128, 128, 128]);

impl Change {
    /// Returns the manipulated image in base64; the original if it cannot be decoded.
    pub(super) fn apply(self, image: &str, text: &str) -> String {
        let bare = image.rsplit(',').next().unwrap_or(image);
        let read = BASE64_STANDARD.decode(bare).ok().and_then(|bytes| image::load_from_memory(&bytes).ok());
        let Some(read) = read else { return image.to_owned() };
        let mut written = Cursor::new(Vec::new());
        match self.painted(read.to_rgb8(), text).write_to(&mut written, ImageFormat::Png) {
            Ok(()) => BASE64_STANDARD.encode(written.into_inner()),
            Err(_) => image.to_owned(),
        }
    }

    fn painted(self, mut image: RgbImage, text: &str) -> RgbImage {
        let (width, height) = image.dimensions();
        match self {
            Self::Write => write(&mut image, text, Ink::Label),
            Self::Mark => write(&mut image, text, Ink::Glass),
            Self::Brighter => imageops::colorops::brighten_in_place(&mut image, 40),
            Self::Darker => imageops::colorops::brighten_in_place(&mut image, -40),
            Self::Vivid => image.pixels_mut().for_each(saturate),
            Self::Border => {
                let thick = (width.min(height) / 24).max(2);
                let whole = Rectangle { left: 0, top: 0, width, height };
                outline(&mut image, whole, thick, Rgb([212, 175, 55]));
            }
            Self::Boxes => {
                let (half, part) = (width / 2, height / 2);
                for (x, y) in [(0, 0), (half, 0), (0, part), (half, part)] {
                    let (left, top) = (x + half / 8, y + part / 8);
                    let inner = Rectangle { left, top, width: half * 3 / 4, height: part * 3 / 4 };
                    outline(&mut image, inner, 2, Rgb([255, 0, 0]));
                }
            }
            Self::Hidden => return hidden(&image, text),
            Self::Blank => image.pixels_mut().for_each(|pixel| *pixel = GREY),
            // These change the list of images instead.
            Self::Removed | Self::OtherImage => {}
        }
        image
    }
}

fn saturate(pixel: &mut Rgb<u8>) {
    let grey = pixel.0.iter().map(|value| f32::from(*value)).sum::<f32>() / 3.0;
    pixel.0 = pixel.0.map(|value| (grey + 1.6 * (f32::from(value) - grey)).clamp(0.0, 255.0) as u8);
}

/// A part of an image, in pixels.
#[derive(Clone, Copy)]
struct Rectangle {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

/// Draws a frame inside a rectangle.
fn outline(image: &mut RgbImage, rectangle: Rectangle, thick: u32, colour: Rgb<u8>) {
    let Rectangle { left, top, width, height } = rectangle;
    for y in 0..height {
        for x in 0..width {
            let inside = x >= thick && y >= thick && x + thick < width && y + thick < height;
            if let (false, Some(pixel)) = (inside, image.get_pixel_mut_checked(left + x, top + y)) {
                *pixel = colour;
            }
        }
    }
}

/// The appearance of writing.
#[derive(Clone, Copy)]
enum Ink {
    /// Black on white, at the lower edge.
    Label,
    /// Half transparent, in the middle.
    Glass,
}

/// Writes ASCII text as large as it fits, in lines of up to twelve characters if no word is longer.
fn write(image: &mut RgbImage, text: &str, ink: Ink) {
    const LETTER: u32 = 8;
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().filter(|last| last.is_empty() || last.len() + word.len() < 12);
        match last {
            Some(last) if last.is_empty() => last.push_str(word),
            Some(last) => *last += &format!(" {word}"),
            None => lines.push(word.to_owned()),
        }
    }
    let (width, height) = image.dimensions();
    let longest = lines.iter().map(String::len).max().unwrap_or(1).max(1) as u32;
    let size = (width / (longest * LETTER)).min(height / (lines.len() as u32 * LETTER * 2)).max(1);
    let tall = lines.len() as u32 * LETTER * size;
    let top = match ink {
        Ink::Label => height.saturating_sub(tall + size),
        Ink::Glass => height.saturating_sub(tall) / 2,
    };
    if let Ink::Label = ink {
        let (top, height) = (top.saturating_sub(size), tall + 2 * size);
        outline(image, Rectangle { left: 0, top, width, height }, u32::MAX / 2, Rgb([255; 3]));
    }
    for (row, line) in lines.iter().enumerate() {
        let left = width.saturating_sub(line.len() as u32 * LETTER * size) / 2;
        for (column, letter) in line.bytes().enumerate() {
            let glyph = BASIC_LEGACY.get(usize::from(letter)).copied().unwrap_or_default();
            for (y, bits) in
                (0..LETTER * size).flat_map(|y| glyph.get((y / size) as usize).map(|bits| (y, *bits)))
            {
                for x in (0..LETTER * size).filter(|x| bits >> (x / size) & 1 == 1) {
                    let at = (left + column as u32 * LETTER * size + x, top + row as u32 * LETTER * size + y);
                    if let Some(pixel) = image.get_pixel_mut_checked(at.0, at.1) {
                        pixel.0 = match ink {
                            Ink::Label => [0; 3],
                            Ink::Glass => pixel.0.map(|value| value / 2 + 100),
                        };
                    }
                }
            }
        }
    }
}

/// An enlarged image that looks like the original, and like the one with writing after nearest-neighbour
/// downscaling.
fn hidden(image: &RgbImage, text: &str) -> RgbImage {
    let mut written = image.clone();
    write(&mut written, text, Ink::Label);
    let (width, height) = image.dimensions();
    RgbImage::from_fn(width * SCALE, height * SCALE, |x, y| {
        let sampled = x % SCALE == SCALE / 2 && y % SCALE == SCALE / 2;
        *(if sampled { &written } else { image }).get_pixel(x / SCALE, y / SCALE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> RgbImage {
        RgbImage::from_fn(96, 64, |x, y| Rgb([x as u8, y as u8, 90]))
    }

    #[test]
    fn writing_is_there_and_the_rest_stays() {
        let (before, after) = (image(), Change::Write.painted(image(), "BEST SCORE"));
        let black = after.pixels().filter(|pixel| pixel.0 == [0; 3]).count();
        assert!(black > 60, "{black}");
        assert!(before.rows().zip(after.rows()).take(16).all(|(before, after)| before.eq(after)));
        assert_ne!(Change::Mark.painted(image(), "SEAL"), before);
    }

    #[test]
    fn what_is_hidden_shows_when_neighbours_are_taken() {
        let after = Change::Hidden.painted(image(), "BEST");
        assert_eq!(after.dimensions(), (384, 256));
        let taken = RgbImage::from_fn(96, 64, |x, y| *after.get_pixel(x * 4 + 2, y * 4 + 2));
        assert_eq!(taken, Change::Write.painted(image(), "BEST"));
        let other = RgbImage::from_fn(96, 64, |x, y| *after.get_pixel(x * 4, y * 4));
        assert_eq!(other, image());
    }

    #[test]
    fn images_stay_images_of_their_size() {
        let mut bytes = Cursor::new(Vec::new());
        image().write_to(&mut bytes, ImageFormat::Png).unwrap();
        let text = BASE64_STANDARD.encode(bytes.into_inner());
        for change in
            [Change::Brighter, Change::Darker, Change::Vivid, Change::Border, Change::Boxes, Change::Blank]
        {
            let after = change.apply(&format!("data:image/png;base64,{text}"), "");
            let read = image::load_from_memory(&BASE64_STANDARD.decode(after).unwrap()).unwrap().to_rgb8();
            assert!(read.dimensions() == (96, 64) && read != image(), "{change:?}");
        }
        assert_eq!(Change::Blank.apply("not a picture", ""), "not a picture");
    }
}
