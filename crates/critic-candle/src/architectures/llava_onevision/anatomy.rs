//! Everything that a configuration says about the model, in one form for both layouts.

use critic::TokenId;

use super::geometry::Geometry;
use crate::{
    decoders::TextAnatomy,
    layers::{Activation, Bias},
    vision::VisionAnatomy,
};

/// A model, measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Anatomy {
    /// Which layout the configuration has.
    pub(super) layout: Layout,
    /// The SigLIP tower.
    pub(super) vision: VisionAnatomy,
    /// Activation between the projector's two layers.
    pub(super) projector_activation: Activation,
    /// Of the projector's layers.
    pub(super) projector_bias: Bias,
    /// The Qwen2 decoder.
    pub(super) text: TextAnatomy,
    /// How images are cut and put together again.
    pub(super) geometry: Geometry,
    /// What stands for features in the vocabulary.
    pub(super) placeholders: Placeholders,
    /// Where the vision tower's weights are.
    pub(super) vision_source: VisionSource,
}

/// Whose names and conventions a checkpoint follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `LlavaOnevisionForConditionalGeneration`.
    HuggingFace,
    /// `LlavaQwenForCausalLM`.
    Native,
}

/// Ids that stand for features in the vocabulary; a native one has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placeholders {
    /// For those of an image.
    pub(super) image: Option<TokenId>,
    /// For those of a video.
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
