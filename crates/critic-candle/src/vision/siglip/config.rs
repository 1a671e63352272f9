//! Reads and writes the transformers configuration of a SigLIP tower.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{error::LoadError, layers::Activation, source::Source, vision::VisionConfig};

/// The kind of a tower that is SigLIP.
const MODEL_TYPE: &str = "siglip_vision_model";

/// SigLIP's keys. `save_pretrained` leaves out values that equal the class's defaults, so each default is the
/// class's.
#[derive(Deserialize)]
pub(crate) struct SiglipConfig {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    image_size: Option<Side>,
    patch_size: Option<Side>,
    layer_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    model_type: Option<String>,
}

/// The side of a square, as one number or as height and width.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Side {
    Once(usize),
    Twice([usize; 2]),
}

impl Side {
    fn of(self, source: &Source, key: &'static str) -> Result<usize, LoadError> {
        match self {
            Self::Once(side) => Ok(side),
            Self::Twice([height, width]) if height == width => Ok(height),
            Self::Twice(sides) => Err(source.unsupported(key, format!("{sides:?}"), "a square")),
        }
    }
}

impl SiglipConfig {
    /// Whether it contains sizes of a tower: in some files it is a stub that only names a class.
    pub(crate) fn has_sizes(&self) -> bool {
        self.hidden_size.is_some() || self.num_hidden_layers.is_some() || self.image_size.is_some()
    }

    /// The sizes and settings of the tower; `run` maps the number of stored layers to the number of layers to run.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] for a value that is not implemented or makes no sense.
    pub(crate) fn into_vision_config(
        self,
        source: &Source,
        run: impl FnOnce(usize) -> Result<usize, LoadError>,
    ) -> Result<VisionConfig, LoadError> {
        if let Some(kind) = self.model_type.filter(|kind| kind != MODEL_TYPE) {
            return Err(source.unsupported("vision_config.model_type", kind, MODEL_TYPE));
        }
        let hidden_size = self.hidden_size.unwrap_or(768);
        let heads = self.num_attention_heads.unwrap_or(12);
        let image_size = self.image_size.unwrap_or(Side::Once(224)).of(source, "vision_config.image_size")?;
        let patch_size = self.patch_size.unwrap_or(Side::Once(16)).of(source, "vision_config.patch_size")?;
        if heads == 0 || !hidden_size.is_multiple_of(heads) {
            let found = format!("{heads} for hidden_size {hidden_size}");
            return Err(source.unsupported(
                "vision_config.num_attention_heads",
                found,
                "a divisor of hidden_size",
            ));
        }
        if patch_size == 0 || image_size < patch_size {
            let found = format!("{patch_size} for image_size {image_size}");
            return Err(source.unsupported("vision_config.patch_size", found, "at most image_size"));
        }
        let activation = self.hidden_act.as_deref().unwrap_or("gelu_pytorch_tanh");
        Ok(VisionConfig {
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

/// The configuration of a tower that activates with GELU, in the keys of published checkpoints.
pub(crate) fn write(config: &VisionConfig) -> Value {
    json!({
        "model_type": "siglip_vision_model",
        "attention_dropout": 0.0,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": config.hidden_size,
        "image_size": config.image_size,
        "intermediate_size": config.intermediate_size,
        "layer_norm_eps": config.norm_epsilon,
        "num_attention_heads": config.heads,
        "num_channels": 3,
        "num_hidden_layers": config.layers,
        "patch_size": config.patch_size,
        "vision_use_head": false,
    })
}
