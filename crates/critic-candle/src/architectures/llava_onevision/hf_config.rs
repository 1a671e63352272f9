//! The Hugging Face layout of a configuration: `LlavaOnevisionForConditionalGeneration`.
//!
//! `save_pretrained` leaves out values equal to a class's defaults, so each default here is the class's.

use critic::TokenId;
use serde::Deserialize;

use super::{
    anatomy::{Anatomy, Layout, TextAnatomy, VisionAnatomy, VisionSource},
    geometry::{Geometry, VideoNewline},
};
use crate::{error::LoadError, layers::Activation, source::Source};

const FILE: &str = "config.json";

#[derive(Deserialize)]
struct Config {
    text_config: TextConfig,
    vision_config: VisionConfig,
    #[serde(default, alias = "image_token_id")]
    image_token_index: Option<u32>,
    #[serde(default, alias = "video_token_id")]
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
    image_grid_pinpoints: Option<Vec<(usize, usize)>>,
    #[serde(default)]
    tie_word_embeddings: Option<bool>,
    #[serde(default)]
    use_image_newline_parameter: Option<bool>,
}

/// Qwen2's keys; the native layout has them at the top level.
#[derive(Deserialize)]
pub(super) struct TextConfig {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<RopeParameters>,
    hidden_act: Option<String>,
    use_sliding_window: Option<bool>,
    pub(super) tie_word_embeddings: Option<bool>,
}

#[derive(Deserialize)]
struct RopeParameters {
    rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

/// SigLIP's keys.
#[derive(Deserialize)]
pub(super) struct VisionConfig {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    image_size: Option<usize>,
    patch_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    hidden_act: Option<String>,
}

/// A configuration value that is not implemented or makes no sense.
#[expect(clippy::needless_pass_by_value, reason = "callers pass numbers and literals")]
pub(super) fn unsupported(
    source: &Source,
    key: &'static str,
    found: impl ToString,
    expected: impl ToString,
) -> LoadError {
    LoadError::Unsupported {
        file: source.path(FILE),
        key,
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

impl TextConfig {
    /// The decoder, with a head that is `tied` to the embedding or not.
    pub(super) fn anatomy(self, source: &Source, tied: bool) -> Result<TextAnatomy, LoadError> {
        if self.use_sliding_window == Some(true) {
            return Err(unsupported(
                source,
                "use_sliding_window",
                "true",
                "false: attention is over the whole context",
            ));
        }
        let scaling = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        if let Some(kind) = scaling.and_then(|rope| rope.rope_type.as_deref())
            && kind != "default"
        {
            return Err(unsupported(source, "rope_type", kind, "default"));
        }
        let theta = self.rope_theta.or_else(|| self.rope_parameters.as_ref()?.rope_theta);
        let hidden_size = self.hidden_size.unwrap_or(4096);
        let heads = self.num_attention_heads.unwrap_or(32);
        let kv_heads = self.num_key_value_heads.unwrap_or(32);
        if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            let found = format!("{kv_heads} for {heads} query heads");
            return Err(unsupported(
                source,
                "num_key_value_heads",
                found,
                "a divisor of num_attention_heads",
            ));
        }
        let head_size = self.head_dim.unwrap_or(hidden_size / heads);
        if head_size == 0 || !head_size.is_multiple_of(2) {
            return Err(unsupported(source, "head_dim", head_size, "an even number"));
        }
        Ok(TextAnatomy {
            hidden_size,
            intermediate_size: self.intermediate_size.unwrap_or(22016),
            layers: self.num_hidden_layers.unwrap_or(32),
            heads,
            kv_heads,
            head_size,
            vocabulary: self.vocab_size.unwrap_or(151_936),
            context_length: self.max_position_embeddings.unwrap_or(32_768),
            norm_epsilon: self.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: theta.unwrap_or(10_000.0),
            activation: Activation::read(source, "hidden_act", self.hidden_act.as_deref().unwrap_or("silu"))?,
            tied,
        })
    }
}

impl VisionConfig {
    /// The tower; `run` turns the number of stored layers into the number of layers that are run.
    pub(super) fn anatomy(
        self,
        source: &Source,
        run: impl FnOnce(usize) -> Result<usize, LoadError>,
    ) -> Result<VisionAnatomy, LoadError> {
        let hidden_size = self.hidden_size.unwrap_or(768);
        let heads = self.num_attention_heads.unwrap_or(12);
        let image_size = self.image_size.unwrap_or(224);
        let patch_size = self.patch_size.unwrap_or(16);
        if heads == 0 || !hidden_size.is_multiple_of(heads) {
            let found = format!("{heads} for hidden_size {hidden_size}");
            return Err(unsupported(
                source,
                "vision_config.num_attention_heads",
                found,
                "a divisor of hidden_size",
            ));
        }
        if patch_size == 0 || image_size < patch_size {
            let found = format!("{patch_size} for image_size {image_size}");
            return Err(unsupported(source, "vision_config.patch_size", found, "at most image_size"));
        }
        let activation = self.hidden_act.as_deref().unwrap_or("gelu_pytorch_tanh");
        Ok(VisionAnatomy {
            hidden_size,
            intermediate_size: self.intermediate_size.unwrap_or(3072),
            layers: run(self.num_hidden_layers.unwrap_or(12))?,
            heads,
            image_size,
            patch_size,
            norm_epsilon: self.layer_norm_eps.unwrap_or(1e-6),
            activation: Activation::read(source, "vision_config.hidden_act", activation)?,
        })
    }
}

/// `anyres_max_N` to N, `anyres` to no bound.
pub(super) fn read_max_tiles(
    source: &Source,
    key: &'static str,
    value: &str,
) -> Result<Option<usize>, LoadError> {
    if value == "anyres" {
        return Ok(None);
    }
    let count =
        value.strip_prefix("anyres_max_").and_then(|count| count.parse().ok()).filter(|count| *count > 0);
    count.map(Some).ok_or_else(|| unsupported(source, key, value, "anyres_max_N or anyres"))
}

/// More tiles than this no grid has: the published ones have 36 at most, and a picture is scaled up to its grid.
const MAX_GRID_TILES: usize = 256;

/// Refuses grids that are not whole tiles, or too many.
pub(super) fn check_grid(source: &Source, sizes: &[(usize, usize)], tile: usize) -> Result<(), LoadError> {
    let whole = |(height, width): &(usize, usize)| {
        let tiles = (height / tile).checked_mul(width / tile);
        let few = tiles.is_some_and(|tiles| (1..=MAX_GRID_TILES).contains(&tiles));
        few && height.is_multiple_of(tile) && width.is_multiple_of(tile)
    };
    if sizes.is_empty() || !sizes.iter().all(whole) {
        let expected =
            format!("a list of multiples of the tile size {tile}, of {MAX_GRID_TILES} tiles at most");
        let found = match &sizes[..sizes.len().min(40)] {
            few if few.len() == sizes.len() => format!("{sizes:?}"),
            few => format!("{few:?} and {} more", sizes.len() - few.len()),
        };
        return Err(unsupported(source, "image_grid_pinpoints", found, expected));
    }
    Ok(())
}

/// How many layers `vision_feature_layer` asks for, of `stored` that there are.
fn layers_to_run(
    source: &Source,
    layer: Option<&serde_json::Value>,
    stored: usize,
) -> Result<usize, LoadError> {
    let value = layer.map_or(Some(-1), serde_json::Value::as_i64);
    // Index into the hidden states: the embeddings, then one after each layer.
    let states = stored as i64 + 1;
    let run = value.map(|value| if value < 0 { states + value } else { value });
    run.filter(|run| (0..states).contains(run)).map(|run| run as usize).ok_or_else(|| {
        let found = layer.map(ToString::to_string).unwrap_or_default();
        unsupported(source, "vision_feature_layer", found, format!("one index into {states} hidden states"))
    })
}

/// Reads `config.json` of a Hugging Face checkpoint.
pub(crate) fn read(source: &Source) -> Result<Anatomy, LoadError> {
    let config: Config = source.required_json(FILE, "LLaVA-OneVision configuration")?;
    let strategy = config.vision_feature_select_strategy.as_deref().unwrap_or("full");
    if strategy != "full" {
        return Err(unsupported(
            source,
            "vision_feature_select_strategy",
            strategy,
            "full: SigLIP has no class token",
        ));
    }
    if config.use_image_newline_parameter == Some(false) {
        return Err(unsupported(source, "use_image_newline_parameter", false, true));
    }
    let layer = config.vision_feature_layer;
    let vision =
        config.vision_config.anatomy(source, |stored| layers_to_run(source, layer.as_ref(), stored))?;
    // Which of the two flags a file carries depends on the version that wrote it; the decoder's own goes first.
    let tied = config.text_config.tie_word_embeddings.or(config.tie_word_embeddings).unwrap_or(false);
    let text = config.text_config.anatomy(source, tied)?;
    let tile = vision.image_size;
    let grid_sizes = config.image_grid_pinpoints.unwrap_or_else(|| {
        (1..=6).flat_map(|rows| (1..=6).map(move |columns| (384 * rows, 384 * columns))).collect()
    });
    check_grid(source, &grid_sizes, tile)?;
    let aspect = config.vision_aspect_ratio.as_deref().unwrap_or("anyres_max_9");
    let projector = config.projector_hidden_act.as_deref().unwrap_or("gelu");
    Ok(Anatomy {
        layout: Layout::HuggingFace,
        geometry: Geometry {
            tile_size: tile,
            patches_per_side: vision.patches_per_side(),
            grid_sizes,
            max_tiles: read_max_tiles(source, "vision_aspect_ratio", aspect)?,
            rounds_kept_length: true,
            video_newline: VideoNewline::OneToken,
        },
        projector_activation: Activation::read(source, "projector_hidden_act", projector)?,
        projector_bias: config.multimodal_projector_bias.unwrap_or(true),
        placeholders: Some((
            TokenId(config.image_token_index.unwrap_or(151_646)),
            TokenId(config.video_token_index.unwrap_or(151_647)),
        )),
        vision_source: VisionSource::Checkpoint,
        vision,
        text,
    })
}
