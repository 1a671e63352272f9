//! LLaVA-OneVision: SigLIP tower, two-layer projector, any-resolution tiles, Qwen2 decoder.
//!
//! The architecture of LLaVA-Critic, UnifiedReward-7b, the llava-onevision chat models and, with a reward head,
//! MM-RLHF-Reward-7B. Two layouts of checkpoint are read, Hugging Face's ([`hf_config`]) and LLaVA-NeXT's own
//! ([`native_config`]); both become one [`ModelConfig`].

mod config;
mod geometry;
mod grid;
mod hf_config;
mod inventory;
mod least_tokens;
mod model;
mod names;
mod native_config;
mod packing;
mod preprocessor;
mod processor;
mod reward_head;
mod synthetic;

use std::sync::Arc;

use self::{
    config::{Layout, ModelConfig, VisionSource},
    model::LlavaModel,
    names::{GGUF, Names},
    processor::LlavaProcessor,
};
use super::{Architecture, KnownConfig, Model, ModelWeights, SegmentEncoder};
use crate::{
    chat::{ChatFormat, ControlTokens},
    decoders::{DecoderConfig, DecoderNames},
    error::LoadError,
    image::{Loader, TileCache},
    source::Source,
    tokenizer::Tokenizer,
    vision::VisionConfig,
    weights::{GgufNaming, Weights},
};
pub use geometry::{Geometry, Packing, Placement, VideoNewline};
pub(crate) use synthetic::SYNTHETIC;

/// The configurations of both layouts.
pub(super) const CONFIGS: &[KnownConfig] = &[
    KnownConfig {
        name: "LlavaOnevisionForConditionalGeneration",
        decoder: "Qwen2ForCausalLM",
        recognises: |config| config["model_type"] == "llava_onevision",
        read: hf_config::read,
    },
    KnownConfig {
        name: "LlavaQwenForCausalLM",
        decoder: "Qwen2ForCausalLM",
        recognises: |config| config["mm_vision_tower"].is_string() && config["mm_projector_type"].is_string(),
        read: native_config::read,
    },
];

impl Architecture for ModelConfig {
    fn name(&self) -> &'static str {
        match self.layout {
            Layout::HuggingFace => "LLaVA-OneVision, Hugging Face layout",
            Layout::Native => "LLaVA-OneVision, native LLaVA-NeXT layout",
        }
    }

    fn vision(&self) -> &VisionConfig {
        &self.vision
    }

    fn text(&self) -> &DecoderConfig {
        &self.text
    }

    fn limited_to(&self, context_length: usize) -> Arc<dyn Architecture> {
        let text = DecoderConfig { context_length, ..self.text.clone() };
        Arc::new(Self { text, ..self.clone() })
    }

    fn projector_weights(&self) -> usize {
        self.text.hidden_size * (self.vision.hidden_size + self.text.hidden_size)
    }

    /// One tile for the whole image, and those of its grid.
    fn tiles(&self, height: usize, width: usize) -> usize {
        let (height, width) = self.geometry.best_grid(height, width);
        1 + height / self.geometry.tile_size * (width / self.geometry.tile_size)
    }

    fn describe_images(&self) -> String {
        let geometry = &self.geometry;
        let bound = match geometry.max_tiles {
            Some(tiles) => format!("at most {tiles} tiles of features"),
            None => "no bound".into(),
        };
        // An image exactly of the size of each grid, which fills it without padding.
        let count =
            |(height, width): &(usize, usize)| geometry.feature_count(&geometry.pack(*height, *width), 0);
        let most_features = geometry.grid_sizes.iter().map(count).max().unwrap_or(0);
        let grids = geometry.grid_sizes.len();
        format!("{grids} grids, {bound}; an image takes up to about {most_features} tokens")
    }

    fn gguf_naming(&self) -> &'static GgufNaming {
        &GGUF
    }

    fn decoder_names(&self, weights: &Weights) -> DecoderNames {
        Names::detect(weights).decoder
    }

    fn tower_elsewhere(&self, weights: &Weights) -> Option<&str> {
        match &self.vision_source {
            VisionSource::CheckpointOr(tower) if !Names::detect(weights).has_vision(weights) => Some(tower),
            VisionSource::CheckpointOr(_) | VisionSource::Checkpoint => None,
        }
    }

    fn read_processor(
        &self,
        source: &Source,
        tokenizer: Tokenizer,
        loader: Loader,
        cuts: TileCache,
    ) -> Result<Arc<dyn SegmentEncoder>, LoadError> {
        let control = ControlTokens::read(source, &tokenizer)?;
        // The native code uses a format of its own and ignores the tokenizer's template.
        let format = match self.layout {
            Layout::HuggingFace => ChatFormat::recognise(source)?,
            Layout::Native => ChatFormat::Qwen15,
        };
        Ok(Arc::new(LlavaProcessor {
            tokenizer,
            geometry: self.geometry.clone(),
            normalisation: self.normalisations.images.clone(),
            control,
            placeholders: self.placeholders,
            format,
            loader,
            cuts,
        }))
    }

    fn read_model(
        &self,
        weights: ModelWeights<'_>,
        max_step_tokens: usize,
    ) -> Result<Box<dyn Model>, LoadError> {
        Ok(Box::new(LlavaModel::load(self, weights, max_step_tokens)?))
    }
}
