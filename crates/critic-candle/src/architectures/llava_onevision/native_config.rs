//! The native LLaVA-NeXT layout of a configuration: `LlavaQwenForCausalLM`, which llava-critic-7b and -72b use.
//!
//! Qwen2's keys are at the top level. A `text_config` may exist as well; it is a stub and is not read.

use std::sync::Arc;

use serde::Deserialize;

use super::{
    config::{Layout, ModelConfig, Placeholders, VisionSource},
    geometry::{Geometry, VideoNewline},
    grid::{Grid, check_grid, read_max_tiles},
    preprocessor::Normalisations,
};
use crate::{
    architectures::Architecture,
    decoders::Qwen2Config,
    error::LoadError,
    layers::{Activation, Bias},
    source::Source,
    vision::{SiglipConfig, VisionConfig},
};

const FILE: &str = "config.json";

#[derive(Deserialize)]
struct Config {
    #[serde(flatten)]
    text: Qwen2Config,
    mm_vision_tower: Option<String>,
    vision_config: Option<SiglipConfig>,
    mm_projector_type: Option<String>,
    mm_patch_merge_type: Option<String>,
    image_aspect_ratio: Option<String>,
    image_grid_pinpoints: Option<Grid>,
    mm_newline_position: Option<String>,
    mm_spatial_pool_mode: Option<String>,
    mm_spatial_pool_stride: Option<usize>,
    /// Whether tokens of their own stand before and after each image.
    mm_use_im_start_end: Option<bool>,
    /// Whether a video also has frames of fewer tokens, with a mark before each.
    add_faster_video: Option<bool>,
}

/// Reads `config.json` of a native checkpoint.
pub(super) fn read(source: &Source) -> Result<Arc<dyn Architecture>, LoadError> {
    let config: Config = source.required_json(FILE, "LLaVA-NeXT configuration")?;
    check_supported(source, &config)?;
    let tower = config.mm_vision_tower.unwrap_or_default();
    let vision = read_tower(source, config.vision_config, &tower)?;
    let tile = vision.image_size;
    let Some(grid) = config.image_grid_pinpoints else {
        return Err(source.unsupported("image_grid_pinpoints", "absent", "the sizes that a grid may have"));
    };
    // The native code writes the width first.
    let sizes = grid.sizes(source, tile)?.into_iter();
    let grid_sizes: Vec<_> = sizes.map(|(width, height)| (height, width)).collect();
    check_grid(source, &grid_sizes, tile)?;
    let aspect = config.image_aspect_ratio.as_deref().unwrap_or("square");
    let video_newline = video_newline(source, config.mm_newline_position.as_deref())?;
    Ok(Arc::new(ModelConfig {
        layout: Layout::Native,
        geometry: Geometry {
            tile_size: tile,
            patches_per_side: vision.patches_per_side(),
            grid_sizes,
            max_tiles: read_max_tiles(source, "image_aspect_ratio", aspect)?,
            rounds_kept_length: false,
            video_newline,
        },
        projector_activation: Activation::Gelu,
        projector_bias: Bias::Present,
        // The native code sets `rope_scaling` to `None` before it builds the decoder, whatever the file says.
        text: config.text.without_rope_scaling().into_decoder_config(source)?,
        normalisations: Normalisations::siglip(),
        placeholders: Placeholders { image: None, video: None },
        vision_source: VisionSource::CheckpointOr(tower),
        vision,
    }))
}

/// Refuses what is not implemented.
fn check_supported(source: &Source, config: &Config) -> Result<(), LoadError> {
    let expect = |key, value: &Option<String>, default: &str, wanted: &str| {
        let value = value.as_deref().unwrap_or(default);
        if value == wanted { Ok(()) } else { Err(source.unsupported(key, value, wanted)) }
    };
    expect("mm_projector_type", &config.mm_projector_type, "linear", "mlp2x_gelu")?;
    expect("mm_patch_merge_type", &config.mm_patch_merge_type, "flat", "spatial_unpad")?;
    expect("mm_spatial_pool_mode", &config.mm_spatial_pool_mode, "bilinear", "bilinear")?;
    if let Some(stride) = config.mm_spatial_pool_stride.filter(|stride| *stride != 2) {
        return Err(source.unsupported("mm_spatial_pool_stride", stride, 2));
    }
    let switches =
        [("mm_use_im_start_end", config.mm_use_im_start_end), ("add_faster_video", config.add_faster_video)];
    match switches.into_iter().find(|(_, value)| *value == Some(true)) {
        Some((key, _)) => Err(source.unsupported(key, true, false)),
        None => Ok(()),
    }
}

/// The sizes of the tower: those of its own configuration, or else those of the tower `name`.
fn read_tower(source: &Source, config: Option<SiglipConfig>, name: &str) -> Result<VisionConfig, LoadError> {
    match config.filter(SiglipConfig::has_sizes) {
        // All stored layers are run: the native code implements `mm_vision_select_layer` by deleting the last one.
        Some(config) => config.into_vision_config(source, Ok),
        None => known_tower(source, name),
    }
}

/// Where newline vectors are in a video, by the value of `mm_newline_position`.
fn video_newline(source: &Source, position: Option<&str>) -> Result<VideoNewline, LoadError> {
    match position.unwrap_or("one_token") {
        "one_token" => Ok(VideoNewline::OneToken),
        "grid" => Ok(VideoNewline::Grid),
        "frame" => Ok(VideoNewline::Frame),
        "no_token" => Ok(VideoNewline::NoToken),
        other => Err(source.unsupported("mm_newline_position", other, "one_token, grid, frame or no_token")),
    }
}

/// The sizes of the tower that native checkpoints refer to by name.
fn known_tower(source: &Source, name: &str) -> Result<VisionConfig, LoadError> {
    if !name.contains("siglip-so400m-patch14-384") {
        return Err(source.unsupported(
            "mm_vision_tower",
            name,
            "siglip-so400m-patch14-384, or a vision_config",
        ));
    }
    Ok(VisionConfig::SO400M)
}
