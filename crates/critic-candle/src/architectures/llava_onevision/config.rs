//! The sizes and settings of a model, in one form for both layouts of its configuration.

use critic::TokenId;

use super::{geometry::Geometry, preprocessor::Normalisations};
use crate::{
    decoders::DecoderConfig,
    layers::{Activation, Bias},
    vision::VisionConfig,
};

/// The sizes and settings of a model.
#[derive(Debug, Clone)]
pub(crate) struct ModelConfig {
    /// The layout of the checkpoint.
    pub(super) layout: Layout,
    /// The SigLIP tower.
    pub(super) vision: VisionConfig,
    /// Activation between the projector's two layers.
    pub(super) projector_activation: Activation,
    /// Whether the projector's layers have a bias.
    pub(super) projector_bias: Bias,
    /// The Qwen2 decoder.
    pub(super) text: DecoderConfig,
    /// How images are cut into tiles and how their features are packed.
    pub(super) geometry: Geometry,
    /// How pixels are normalised.
    pub(super) normalisations: Normalisations,
    /// The token ids that stand for features in a prompt.
    pub(super) placeholders: Placeholders,
    /// Where the vision tower's weights are.
    pub(super) vision_source: VisionSource,
}

/// The layout of a checkpoint: names of tensors, keys of the configuration and conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `LlavaOnevisionForConditionalGeneration`.
    HuggingFace,
    /// `LlavaQwenForCausalLM`.
    Native,
}

/// Token ids that stand for features in a prompt; `None` in the native layout, whose vocabulary has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placeholders {
    /// For the features of an image.
    pub(super) image: Option<TokenId>,
    /// For the features of a video.
    pub(super) video: Option<TokenId>,
}

/// Where the vision tower's weights are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VisionSource {
    /// In the checkpoint.
    Checkpoint,
    /// In the checkpoint, or else in the folder or hub repository that `mm_vision_tower` names.
    CheckpointOr(String),
}
