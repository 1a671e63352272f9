//! The Hugging Face layout of a configuration: `LlavaOnevisionForConditionalGeneration`.
//!
//! `save_pretrained` leaves out values that equal the class's defaults, so each default here is the class's.

use std::sync::Arc;

use critic::TokenId;
use serde::Deserialize;

use super::{
    config::{Layout, ModelConfig, Placeholders, VisionSource},
    geometry::{Geometry, VideoNewline},
    grid::{Grid, check_grid, read_max_tiles},
    preprocessor::Normalisations,
};
use crate::{
    architectures::Architecture,
    decoders::{DecoderConfig, Qwen2Config},
    error::LoadError,
    layers::{Activation, Bias},
    source::Source,
    vision::{SiglipConfig, VisionConfig},
};

const FILE: &str = "config.json";

#[derive(Deserialize)]
struct Config {
    text_config: Qwen2Config,
    vision_config: SiglipConfig,
    // Each id has an older and a newer name; a file may contain both.
    image_token_id: Option<u32>,
    image_token_index: Option<u32>,
    video_token_id: Option<u32>,
    video_token_index: Option<u32>,
    #[serde(default)]
    projector_hidden_act: Option<String>,
    #[serde(default)]
    multimodal_projector_bias: Option<bool>,
    #[serde(default)]
    vision_feature_layer: Option<serde_json::Value>,
    #[serde(default)]
    vision_feature_select_strategy: Option<String>,
    #[serde(default)]
    vision_aspect_ratio: Option<String>,
    #[serde(default)]
    image_grid_pinpoints: Option<Grid>,
    #[serde(default)]
    tie_word_embeddings: Option<bool>,
    #[serde(default)]
    use_image_newline_parameter: Option<bool>,
}

/// Number of layers to run for `vision_feature_layer`, of `stored` layers in the checkpoint.
fn layers_to_run(
    source: &Source,
    layer: Option<&serde_json::Value>,
    stored: usize,
) -> Result<usize, LoadError> {
    // A list of several indices would join the features of several layers, which is not supported.
    let only = layer.and_then(|layer| layer.as_array()).filter(|list| list.len() == 1).map(|list| &list[0]);
    let value = only.or(layer).map_or(Some(-1), serde_json::Value::as_i64);
    // The value indexes the hidden states: the embeddings, then one after each layer.
    let states = stored as i64 + 1;
    let run = value.map(|value| if value < 0 { states + value } else { value });
    run.filter(|run| (0..states).contains(run)).map(|run| run as usize).ok_or_else(|| {
        let found = layer.map(ToString::to_string).unwrap_or_default();
        source.unsupported("vision_feature_layer", found, format!("one index into {states} hidden states"))
    })
}

/// Checks that features are arranged in the way that is implemented.
fn check_features(source: &Source, config: &Config) -> Result<(), LoadError> {
    let strategy = config.vision_feature_select_strategy.as_deref().unwrap_or("full");
    if strategy != "full" {
        return Err(source.unsupported(
            "vision_feature_select_strategy",
            strategy,
            "full: SigLIP has no class token",
        ));
    }
    if config.use_image_newline_parameter == Some(false) {
        return Err(source.unsupported("use_image_newline_parameter", false, true));
    }
    Ok(())
}

/// Reads the decoder's part; `tied` is the flag outside of it. Which of the two flags a file has depends on the version
/// that wrote it; the decoder's own takes precedence.
fn read_text(source: &Source, mut text: Qwen2Config, tied: Option<bool>) -> Result<DecoderConfig, LoadError> {
    if let Some(kind) = text.model_type.as_deref().filter(|kind| *kind != "qwen2") {
        return Err(source.unsupported("text_config.model_type", kind, "qwen2"));
    }
    text.tie_word_embeddings = text.tie_word_embeddings.or(tied);
    Ok(DecoderConfig { stored_head_counts: true, ..text.into_decoder_config(source)? })
}

/// Reads how images are cut for the tower `vision`.
fn read_geometry(
    source: &Source,
    vision: &VisionConfig,
    pinpoints: Option<Grid>,
    aspect: Option<&str>,
) -> Result<Geometry, LoadError> {
    let tile = vision.image_size;
    let grid_sizes = match pinpoints {
        Some(grid) => grid.sizes(source, tile)?,
        None => (1..=6).flat_map(|rows| (1..=6).map(move |columns| (384 * rows, 384 * columns))).collect(),
    };
    check_grid(source, &grid_sizes, tile)?;
    Ok(Geometry {
        tile_size: tile,
        patches_per_side: vision.patches_per_side(),
        grid_sizes,
        max_tiles: read_max_tiles(source, "vision_aspect_ratio", aspect.unwrap_or("anyres_max_9"))?,
        rounds_kept_length: true,
        video_newline: VideoNewline::OneToken,
    })
}

/// Reads `config.json` of a Hugging Face checkpoint, and the configurations of its processors.
pub(super) fn read(source: &Source) -> Result<Arc<dyn Architecture>, LoadError> {
    let config: Config = source.required_json(FILE, "LLaVA-OneVision configuration")?;
    check_features(source, &config)?;
    let layer = config.vision_feature_layer;
    let vision = config
        .vision_config
        .into_vision_config(source, |stored| layers_to_run(source, layer.as_ref(), stored))?;
    let text = read_text(source, config.text_config, config.tie_word_embeddings)?;
    let aspect = config.vision_aspect_ratio.as_deref();
    let geometry = read_geometry(source, &vision, config.image_grid_pinpoints, aspect)?;
    let projector = config.projector_hidden_act.as_deref().unwrap_or("gelu");
    let normalisations = Normalisations::read(source, &geometry)?;
    Ok(Arc::new(ModelConfig {
        layout: Layout::HuggingFace,
        geometry,
        projector_activation: Activation::read(source, "projector_hidden_act", projector)?,
        projector_bias: match config.multimodal_projector_bias.unwrap_or(true) {
            true => Bias::Present,
            false => Bias::Absent,
        },
        placeholders: Placeholders {
            image: Some(TokenId(config.image_token_id.or(config.image_token_index).unwrap_or(151_646))),
            video: Some(TokenId(config.video_token_id.or(config.video_token_index).unwrap_or(151_647))),
        },
        normalisations,
        vision_source: VisionSource::Checkpoint,
        vision,
        text,
    }))
}
