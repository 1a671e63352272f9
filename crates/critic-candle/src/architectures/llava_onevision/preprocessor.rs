//! From bytes of pixels to the numbers that the tower takes, as the image processor's configuration says.

use serde::Deserialize;

use crate::{error::LoadError, source::Source};

/// The image processor's configuration: a file of its own, or, as transformers 5 writes it, a part of the processor's.
const FILE: &str = "preprocessor_config.json";

/// Its keys; SigLIP's values where the file or a key is absent, as the native code has them.
#[derive(Deserialize, Default)]
struct Config {
    image_mean: Option<Channels>,
    image_std: Option<Channels>,
    rescale_factor: Option<f64>,
    resample: Option<u32>,
}

/// A number for each channel, or one for all.
#[derive(Deserialize)]
#[serde(untagged)]
enum Channels {
    All(f64),
    Each([f64; 3]),
}

impl Channels {
    fn each(self) -> [f64; 3] {
        match self {
            Self::All(number) => [number; 3],
            Self::Each(numbers) => numbers,
        }
    }
}

impl Config {
    fn read(source: &Source) -> Result<Self, LoadError> {
        #[derive(Deserialize)]
        struct Whole {
            image_processor: Option<Config>,
        }
        let expected = "image processor configuration";
        if let Some(config) = source.json(FILE, expected)? {
            return Ok(config);
        }
        let whole: Option<Whole> = source.json("processor_config.json", expected)?;
        Ok(whole.and_then(|whole| whole.image_processor).unwrap_or_default())
    }
}

/// From bytes of pixels to the numbers that the tower takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Normalisation {
    /// What each byte becomes, for R, G and B.
    levels: [[f32; 256]; 3],
    /// The colour that pads several pictures to squares: the mean, truncated to a byte.
    padding: [u8; 3],
}

impl Normalisation {
    /// Reads the image processor's configuration.
    ///
    /// # Errors
    /// [`LoadError`] when it is damaged, or asks for pictures to be scaled otherwise than they are here.
    pub(super) fn read(source: &Source) -> Result<Self, LoadError> {
        let config = Config::read(source)?;
        if let Some(filter) = config.resample.filter(|filter| *filter != 3) {
            return Err(LoadError::Unsupported {
                file: source.path(FILE),
                key: "resample",
                found: filter.to_string(),
                expected: "3, which is bicubic".into(),
            });
        }
        Ok(Self::new(
            config.rescale_factor.unwrap_or(1.0 / 255.0),
            config.image_mean.unwrap_or(Channels::All(0.5)).each(),
            config.image_std.unwrap_or(Channels::All(0.5)).each(),
        ))
    }

    /// (byte * rescale - mean) / deviation; the product in f64 and rounded to f32, the rest in f32, as the reference.
    fn new(rescale: f64, mean: [f64; 3], deviation: [f64; 3]) -> Self {
        let level = |channel: usize, byte: usize| {
            ((byte as f64 * rescale) as f32 - mean[channel] as f32) / deviation[channel] as f32
        };
        Self {
            levels: [0, 1, 2].map(|channel| std::array::from_fn(|byte| level(channel, byte))),
            padding: mean.map(|mean| (mean * 255.0) as u8),
        }
    }

    /// What each byte of each channel becomes.
    pub(super) fn levels(&self) -> &[[f32; 256]; 3] {
        &self.levels
    }

    /// The colour that pads several pictures to squares.
    pub(super) fn padding(&self) -> [u8; 3] {
        self.padding
    }

    /// A tile `[size, size, 3]` to planes `[3, size, size]`.
    pub(super) fn planes(&self, tile: &[u8], planes: &mut [f32]) {
        let pixels = tile.as_chunks::<3>().0;
        for (channel, plane) in planes.chunks_exact_mut(pixels.len()).enumerate() {
            let levels = &self.levels[channel];
            for (number, pixel) in plane.iter_mut().zip(pixels) {
                *number = levels[usize::from(pixel[channel])];
            }
        }
    }
}
