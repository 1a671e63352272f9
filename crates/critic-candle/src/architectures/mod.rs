//! Every architecture that can be loaded, one folder each, and the traits through which the rest of the crate uses
//! them. A new architecture needs its folder, and two lines here: the module, and its place in [`ARCHITECTURES`].

mod llava_onevision;
mod model;
mod synthetic;

use std::{fmt::Debug, sync::Arc};

use critic::{CacheScope, EncodeError, Encoded, ImageTiling, Processor, TokenId};
use serde_json::Value;

use crate::{
    chat::Segment,
    decoders::{DecoderConfig, DecoderNames},
    error::LoadError,
    image::{Loader, TileCache},
    source::Source,
    tokenizer::Tokenizer,
    vision::VisionConfig,
    weights::{GgufNaming, Weights},
};
pub(crate) use llava_onevision::SYNTHETIC as LLAVA_ONEVISION;
pub use llava_onevision::{Geometry, Packing, Placement, VideoNewline};
pub use model::ModelParts;
pub(crate) use model::{Model, ModelWeights};
pub(crate) use synthetic::{SyntheticArchitecture, SyntheticModel};

/// The configurations of all architectures.
const ARCHITECTURES: &[&[KnownConfig]] = &[llava_onevision::CONFIGS];

/// A kind of `config.json` that can be read.
struct KnownConfig {
    /// Its `architectures[0]`.
    name: &'static str,
    /// The name of the decoder alone, which some files have in its place.
    decoder: &'static str,
    /// Recognises it by its keys, where a file has no name or only the decoder's.
    recognises: fn(&Value) -> bool,
    /// Reads it.
    read: fn(&Source) -> Result<Arc<dyn Architecture>, LoadError>,
}

/// Reads `config.json` of the architecture that it names, or that its keys belong to.
///
/// # Errors
/// [`LoadError::UnknownArchitecture`], and those of reading the configuration.
pub(crate) fn read_architecture(source: &Source) -> Result<Arc<dyn Architecture>, LoadError> {
    const FILE: &str = "config.json";
    let config: Value = source.required_json(FILE, "model configuration")?;
    let found = config["architectures"][0].as_str().unwrap_or_default();
    let all = || ARCHITECTURES.iter().copied().flatten();
    let by_keys =
        |known: &&KnownConfig| (found.is_empty() || found == known.decoder) && (known.recognises)(&config);
    let known = all().find(|known| known.name == found).or_else(|| all().find(by_keys));
    let known = known.ok_or_else(|| LoadError::UnknownArchitecture {
        file: source.path(FILE),
        found: found.into(),
        expected: all().map(|known| known.name).collect(),
    })?;
    (known.read)(source)
}

/// The architecture that a configuration describes, and how its checkpoint is loaded.
pub(crate) trait Architecture: Debug + Send + Sync {
    /// Name of the architecture and of the layout of its files, for people.
    fn name(&self) -> &'static str;

    /// Sizes of the vision tower.
    fn vision(&self) -> &VisionConfig;

    /// Sizes of the decoder.
    fn text(&self) -> &DecoderConfig;

    /// The same architecture with `context_length` tokens of context.
    fn limited_to(&self, context_length: usize) -> Arc<dyn Architecture>;

    /// Number of weights of the matrix products between tower and decoder.
    fn projector_weights(&self) -> usize;

    /// Number of tiles that an image of `height` x `width` pixels is cut into when it is the only one of its prompt.
    fn tiles(&self, height: usize, width: usize) -> usize;

    /// A short description of how images are cut, for people.
    fn describe_images(&self) -> String;

    /// Names of its tensors in GGUF files.
    fn gguf_naming(&self) -> &'static GgufNaming;

    /// Names of the decoder's tensors in `weights`.
    fn decoder_names(&self, weights: &Weights) -> DecoderNames;

    /// The folder or hub repository of the vision tower where `weights` do not contain it; otherwise `None`.
    fn tower_elsewhere(&self, weights: &Weights) -> Option<&str>;

    /// Builds the processor, which loads images with `loader` and caches their tiles in `cuts`.
    ///
    /// # Errors
    /// [`LoadError`] when a file beside the weights is missing, damaged or not supported.
    fn read_processor(
        &self,
        source: &Source,
        tokenizer: Tokenizer,
        loader: Loader,
        cuts: TileCache,
    ) -> Result<Arc<dyn SegmentEncoder>, LoadError>;

    /// Loads the model, whose steps have at most `max_step_tokens` tokens.
    ///
    /// # Errors
    /// [`LoadError`] when a tensor is missing or has another shape, or the GPU fails.
    fn read_model(
        &self,
        weights: ModelWeights<'_>,
        max_step_tokens: usize,
    ) -> Result<Box<dyn Model>, LoadError>;
}

/// A processor that can also encode a prompt in any chat format.
pub trait SegmentEncoder: Processor + Debug {
    /// Encodes a prompt that is already cut into segments.
    ///
    /// # Errors
    /// [`EncodeError`] when an image cannot be read, a video is empty, or the text cannot be tokenised.
    fn encode_segments(
        &self,
        segments: &[Segment<'_>],
        tiling: ImageTiling,
        scope: CacheScope,
    ) -> Result<Encoded, EncodeError>;

    /// The control token that is written as `text`; `None` where the vocabulary has no such token.
    fn control(&self, text: &str) -> Option<TokenId>;
}
