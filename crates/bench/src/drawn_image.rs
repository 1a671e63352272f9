//! Generated images for requests.

use std::io::{self, Cursor};

use image::{ImageFormat, Rgb, RgbImage};
use rand::{Rng, rngs::StdRng};

use crate::error::BenchError;

/// A few rectangles on a plain background.
#[derive(Debug, Clone)]
pub(crate) struct DrawnImage {
    width: u32,
    height: u32,
    background: [u8; 3],
    rectangles: Vec<Rectangle>,
}

#[derive(Debug, Clone)]
struct Rectangle {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    colour: [u8; 3],
}

impl DrawnImage {
    /// Draws an image whose side lengths are random values in `sides`.
    pub(crate) fn draw(random: &mut StdRng, sides: std::ops::RangeInclusive<u32>) -> Self {
        let size = (random.random_range(sides.clone()), random.random_range(sides));
        Self::of_size(random, size)
    }

    /// Draws an image of this width and height.
    pub(crate) fn of_size(random: &mut StdRng, (width, height): (u32, u32)) -> Self {
        let count = random.random_range(1..=4);
        let rectangles = (0..count).map(|_| Rectangle::draw(random, width, height)).collect();
        // Light, but with room below 255 for every shade.
        let background = [0; 3].map(|_| random.random_range(160..=240));
        Self { width, height, background, rectangles }
    }

    /// Encodes the image as PNG. Each `shade`, up to 15, changes the background imperceptibly, so that a server
    /// sees another image that takes as much work.
    pub(crate) fn png(&self, shade: u8) -> Result<Vec<u8>, BenchError> {
        let background = self.background.map(|value| value.saturating_add(shade));
        let mut image = RgbImage::from_pixel(self.width, self.height, Rgb(background));
        for Rectangle { left, top, width, height, colour } in &self.rectangles {
            for y in *top..top + height {
                for x in *left..left + width {
                    image.put_pixel(x, y, Rgb(*colour));
                }
            }
        }
        write(&image)
    }
}

/// Encodes a uniformly grey image of this width and height as PNG.
///
/// # Errors
/// [`BenchError::Image`] when it cannot be encoded.
pub(crate) fn plain((width, height): (u32, u32)) -> Result<Vec<u8>, BenchError> {
    write(&RgbImage::from_pixel(width, height, Rgb([160; 3])))
}

/// Encodes an image given as red, green and blue values, row by row, as PNG.
///
/// # Errors
/// [`BenchError::Image`] when it cannot be encoded, or the number of values does not match its size.
pub(crate) fn of_pixels((width, height): (u32, u32), values: Vec<u8>) -> Result<Vec<u8>, BenchError> {
    write(
        &RgbImage::from_raw(width, height, values)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
            .map_err(image::ImageError::IoError)?,
    )
}

fn write(image: &RgbImage) -> Result<Vec<u8>, BenchError> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png)?;
    Ok(file.into_inner())
}

impl Rectangle {
    fn draw(random: &mut StdRng, width: u32, height: u32) -> Self {
        let (left, top) = (random.random_range(0..width), random.random_range(0..height));
        Self {
            left,
            top,
            width: random.random_range(1..=width - left),
            height: random.random_range(1..=height - top),
            colour: [0; 3].map(|_| random.random()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::DrawnImage;

    #[test]
    fn a_shade_changes_the_file_and_not_the_size() {
        let image = DrawnImage::draw(&mut StdRng::seed_from_u64(1), 20..=40);
        let read = |shade| image::load_from_memory(&image.png(shade).unwrap()).unwrap().to_rgb8();
        let (plain, shaded) = (read(0), read(1));
        assert_eq!(plain.dimensions(), shaded.dimensions());
        assert_ne!(plain, shaded);
        assert_eq!(plain, read(0));
    }
}
