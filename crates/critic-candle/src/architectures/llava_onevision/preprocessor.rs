//! Normalisation of pixels for the tower, according to the image processor's configuration.

use serde::Deserialize;
use serde_json::Value;

use super::geometry::Geometry;
use crate::{error::LoadError, source::Source};

/// Where a processor's configuration is, in the order in which transformers looks: a part of the file of the whole
/// processor, or a file of its own.
const WHOLE: &str = "processor_config.json";
const IMAGES: Place = Place { part: "image_processor", file: "preprocessor_config.json" };
const VIDEOS: Place = Place { part: "video_processor", file: "video_preprocessor_config.json" };

/// What these files contain, for messages.
const EXPECTED: &str = "image processor configuration";

struct Place {
    part: &'static str,
    file: &'static str,
}

/// The keys of an image or video processor. `save_pretrained` leaves out values that equal the class's defaults, so
/// each default is the class's.
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
    size: Option<Size>,
    image_grid_pinpoints: Option<Vec<(usize, usize)>>,
}

/// The size in pixels to which a tile or a frame is scaled.
#[derive(Deserialize, Clone, Copy, Debug)]
#[serde(untagged)]
enum Size {
    Side(usize),
    Sides { height: usize, width: usize },
    Shortest { shortest_edge: usize },
}

impl Size {
    /// Height and width.
    fn sides(self) -> (usize, usize) {
        match self {
            Self::Side(side) | Self::Shortest { shortest_edge: side } => (side, side),
            Self::Sides { height, width } => (height, width),
        }
    }
}

/// CLIP's mean and standard deviation, the defaults of the class.
const CLIP_MEAN: Channels = Channels::Each([0.481_454_66, 0.457_827_5, 0.408_210_73]);
const CLIP_DEVIATION: Channels = Channels::Each([0.268_629_54, 0.261_302_58, 0.275_777_11]);

/// SigLIP's mean and standard deviation, which the native code uses.
const SIGLIP: [f64; 3] = [0.5; 3];

/// A number for each channel, or one for all channels.
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
    /// The configuration and the name of its file; `None` where there is neither. `whole` is the file of the whole
    /// processor.
    fn read(
        &self,
        source: &Source,
        whole: Option<&Value>,
    ) -> Result<Option<(&'static str, Config)>, LoadError> {
        if let Some(part) = whole.and_then(|whole| whole.get(self.part)).filter(|part| !part.is_null()) {
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
    /// Refuses settings that are not supported, and sizes that contradict the model's `geometry`; `file` is the name
    /// of the configuration's file.
    fn check(&self, source: &Source, file: &str, geometry: &Geometry) -> Result<(), LoadError> {
        let refuse = |key, found: String, expected: &str| {
            let expected = expected.into();
            Err(LoadError::Unsupported { file: source.path(file), key, found, expected })
        };
        let tile = geometry.tile_size;
        match self {
            Self { size: Some(size), .. } if size.sides() != (tile, tile) => refuse(
                "size",
                format!("{:?}", size.sides()),
                &format!("{tile}, as vision_config.image_size is"),
            ),
            Self { image_grid_pinpoints: Some(grid), .. } if *grid != geometry.grid_sizes => {
                let few = &grid[..grid.len().min(8)];
                refuse("image_grid_pinpoints", format!("{few:?} of {}", grid.len()), "that of config.json")
            }
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
        // Padding has the colour of the mean even where pixels are not normalised.
        Normalisation { padding: padding(mean), ..normalisation }
    }
}

/// Normalisations of the pixels of images and of videos.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Normalisations {
    pub(super) images: Normalisation,
    pub(super) videos: Normalisation,
}

impl Normalisations {
    /// SigLIP's values, which the native code always uses.
    pub(super) fn siglip() -> Self {
        let images = Normalisation::new(1.0 / 255.0, SIGLIP, SIGLIP);
        Self { videos: images.clone(), images }
    }

    /// Reads the configurations of the image and video processors of a model that sees images in this `geometry`.
    /// Without one for images, SigLIP's values apply.
    ///
    /// # Errors
    /// [`LoadError::Read`] and [`LoadError::Json`] for a damaged file, [`LoadError::Unsupported`] for another way
    /// of scaling images, or for other sizes than the model's.
    pub(super) fn read(source: &Source, geometry: &Geometry) -> Result<Self, LoadError> {
        let whole: Option<Value> = source.json(WHOLE, EXPECTED)?;
        let read = |place: Place| -> Result<Option<Normalisation>, LoadError> {
            let Some((file, config)) = place.read(source, whole.as_ref())? else { return Ok(None) };
            config.check(source, file, geometry)?;
            Ok(Some(config.normalisation()))
        };
        let (images, videos) = (read(IMAGES)?, read(VIDEOS)?);
        let images = images.unwrap_or_else(|| Self::siglip().images);
        Ok(Self { videos: videos.unwrap_or_else(|| images.clone()), images })
    }
}

/// Maps the bytes of pixels to the normalised numbers that the tower takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Normalisation {
    /// The normalised number of each byte, for R, G and B.
    levels: [[f32; 256]; 3],
    /// The colour with which images are padded to squares: the mean, truncated to a byte.
    padding: [u8; 3],
}

fn padding(mean: [f64; 3]) -> [u8; 3] {
    mean.map(|mean| (mean * 255.0) as u8)
}

impl Normalisation {
    /// (byte * rescale - mean) / deviation; the product in f64 and rounded to f32, the rest in f32, as in the
    /// reference.
    fn new(rescale: f64, mean: [f64; 3], deviation: [f64; 3]) -> Self {
        let level = |channel: usize, byte: usize| {
            ((byte as f64 * rescale) as f32 - mean[channel] as f32) / deviation[channel] as f32
        };
        Self {
            levels: [0, 1, 2].map(|channel| std::array::from_fn(|byte| level(channel, byte))),
            padding: padding(mean),
        }
    }

    /// The normalised number of each byte of each channel.
    pub(super) fn levels(&self) -> &[[f32; 256]; 3] {
        &self.levels
    }

    /// The colour with which images are padded to squares.
    pub(super) fn padding(&self) -> [u8; 3] {
        self.padding
    }

    /// Writes the normalised pixels of a tile `[size, size, 3]` to planes `[3, size, size]`.
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
