//! From bytes of pixels to the numbers that the tower takes, as the image processor's configuration says.

use serde::Deserialize;
use serde_json::Value;

use super::anatomy::Layout;
use crate::{error::LoadError, source::Source};

/// Where a processor's configuration is, in the order in which transformers looks: a part of the file of the whole processor, or a file
/// of its own.
const WHOLE: &str = "processor_config.json";
const IMAGES: Place = Place { part: "image_processor", file: "preprocessor_config.json" };
const VIDEOS: Place = Place { part: "video_processor", file: "video_preprocessor_config.json" };

struct Place {
    part: &'static str,
    file: &'static str,
}

/// Its keys. `save_pretrained` leaves out values equal to a class's defaults, so each default is the class's.
#[derive(Deserialize)]
struct Config {
    image_mean: Option<Channels>,
    image_std: Option<Channels>,
    rescale_factor: Option<f64>,
    resample: Option<u32>,
    do_resize: Option<bool>,
    do_center_crop: Option<bool>,
    do_rescale: Option<bool>,
    do_normalize: Option<bool>,
}

/// CLIP's mean and deviation, which are those of the class.
const CLIP_MEAN: Channels = Channels::Each([0.481_454_66, 0.457_827_5, 0.408_210_73]);
const CLIP_DEVIATION: Channels = Channels::Each([0.268_629_54, 0.261_302_58, 0.275_777_11]);

/// SigLIP's, which the native code has.
const SIGLIP: [f64; 3] = [0.5; 3];

/// A number for each channel, or one for all.
#[derive(Deserialize, Clone, Copy)]
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

impl Place {
    /// What is there, and in which file.
    fn read(&self, source: &Source) -> Result<Option<(&'static str, Config)>, LoadError> {
        const EXPECTED: &str = "image processor configuration";
        let whole: Option<Value> = source.json(WHOLE, EXPECTED)?;
        if let Some(part) =
            whole.as_ref().and_then(|whole| whole.get(self.part)).filter(|part| !part.is_null())
        {
            let config = Config::deserialize(part).map_err(|cause| LoadError::Json {
                file: source.path(WHOLE),
                expected: EXPECTED,
                cause,
            })?;
            return Ok(Some((WHOLE, config)));
        }
        Ok(source.json(self.file, EXPECTED)?.map(|config| (self.file, config)))
    }
}

impl Config {
    /// Refuses what is not done here; `file` has it.
    fn check(&self, source: &Source, file: &str) -> Result<(), LoadError> {
        let refuse = |key, found: String, expected: &str| {
            let expected = expected.into();
            Err(LoadError::Unsupported { file: source.path(file), key, found, expected })
        };
        match self {
            Self { resample: Some(filter), .. } if *filter != 3 => {
                refuse("resample", filter.to_string(), "3, which is bicubic")
            }
            Self { do_resize: Some(false), .. } => refuse("do_resize", "false".into(), "true"),
            Self { do_center_crop: Some(true), .. } => refuse("do_center_crop", "true".into(), "false"),
            Self { .. } => Ok(()),
        }
    }

    fn normalisation(&self) -> Normalisation {
        let mean = self.image_mean.unwrap_or(CLIP_MEAN).each();
        let deviation = self.image_std.unwrap_or(CLIP_DEVIATION).each();
        let rescale = match self.do_rescale {
            Some(false) => 1.0,
            _ => self.rescale_factor.unwrap_or(1.0 / 255.0),
        };
        let normalisation = match self.do_normalize {
            Some(false) => Normalisation::new(rescale, [0.0; 3], [1.0; 3]),
            _ => Normalisation::new(rescale, mean, deviation),
        };
        // What pads images is of the mean's colour, whether or not it is taken from them.
        Normalisation { padding: padding(mean), ..normalisation }
    }
}

/// From bytes of pixels to the numbers that the tower takes, for each kind of visual.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Normalisations {
    pub(super) images: Normalisation,
    pub(super) videos: Normalisation,
}

impl Normalisations {
    /// Reads the configurations of the image processor and of the one for videos. Native checkpoints have none that counts.
    ///
    /// # Errors
    /// [`LoadError`] when one is damaged, or asks for images to be scaled otherwise than they are here.
    pub(super) fn read(source: &Source, layout: Layout) -> Result<Self, LoadError> {
        let read = |place: Place| -> Result<Option<Normalisation>, LoadError> {
            let Some((file, config)) = place.read(source)? else { return Ok(None) };
            config.check(source, file)?;
            Ok(Some(config.normalisation()))
        };
        let (images, videos) = match layout {
            Layout::Native => (None, None),
            Layout::HuggingFace => (read(IMAGES)?, read(VIDEOS)?),
        };
        let images = images.unwrap_or_else(|| Normalisation::new(1.0 / 255.0, SIGLIP, SIGLIP));
        Ok(Self { videos: videos.unwrap_or_else(|| images.clone()), images })
    }
}

/// From bytes of pixels to the numbers that the tower takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Normalisation {
    /// What each byte becomes, for R, G and B.
    levels: [[f32; 256]; 3],
    /// The colour that pads several images to squares: the mean, truncated to a byte.
    padding: [u8; 3],
}

fn padding(mean: [f64; 3]) -> [u8; 3] {
    mean.map(|mean| (mean * 255.0) as u8)
}

impl Normalisation {
    /// (byte * rescale - mean) / deviation; the product in f64 and rounded to f32, the rest in f32, as the reference.
    fn new(rescale: f64, mean: [f64; 3], deviation: [f64; 3]) -> Self {
        let level = |channel: usize, byte: usize| {
            ((byte as f64 * rescale) as f32 - mean[channel] as f32) / deviation[channel] as f32
        };
        Self {
            levels: [0, 1, 2].map(|channel| std::array::from_fn(|byte| level(channel, byte))),
            padding: padding(mean),
        }
    }

    /// What each byte of each channel becomes.
    pub(super) fn levels(&self) -> &[[f32; 256]; 3] {
        &self.levels
    }

    /// The colour that pads several images to squares.
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
