//! Everything that a configuration says about the model, in one form for both layouts.

use critic::TokenId;
use kernels::Heads;

use super::Geometry;
use crate::layers::Activation;

/// A model, measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Anatomy {
    /// Which layout the configuration has.
    pub(crate) layout: Layout,
    /// The vision tower.
    pub(crate) vision: VisionAnatomy,
    /// Activation between the projector's two layers.
    pub(crate) projector_activation: Activation,
    /// Whether the projector's layers have biases.
    pub(crate) projector_bias: bool,
    /// The decoder.
    pub(crate) text: TextAnatomy,
    /// How pictures are cut and put together again.
    pub(crate) geometry: Geometry,
    /// Ids that stand for features in the vocabulary, where the checkpoint has such: image, video.
    pub(crate) placeholders: Option<(TokenId, TokenId)>,
    /// Where the vision tower's weights are.
    pub(crate) vision_source: VisionSource,
}

impl Anatomy {
    /// Size of a hidden state of the decoder.
    pub fn hidden_size(&self) -> usize {
        self.text.hidden_size
    }
}

/// Whose names and conventions a checkpoint follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `LlavaOnevisionForConditionalGeneration`.
    HuggingFace,
    /// `LlavaQwenForCausalLM`.
    Native,
}

/// Where the vision tower's weights are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VisionSource {
    /// In the checkpoint.
    Checkpoint,
    /// In the checkpoint, or else in the folder or hub repository that `mm_vision_tower` names.
    CheckpointOr(String),
}

/// The SigLIP tower.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VisionAnatomy {
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    /// Layers that are run; a checkpoint may hold more.
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) image_size: usize,
    pub(crate) patch_size: usize,
    pub(crate) norm_epsilon: f64,
    pub(crate) activation: Activation,
}

impl VisionAnatomy {
    /// Weights of the products of all layers.
    pub(crate) fn product_weights(&self) -> usize {
        self.layers * (4 * self.hidden_size.pow(2) + 2 * self.hidden_size * self.intermediate_size)
    }

    /// Patches along one side of a tile; pixels that fill no patch are left out.
    pub(crate) fn patches_per_side(&self) -> usize {
        self.image_size / self.patch_size
    }
}

/// The Qwen2 decoder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TextAnatomy {
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_size: usize,
    pub(crate) vocabulary: usize,
    pub(crate) context_length: usize,
    pub(crate) norm_epsilon: f64,
    pub(crate) rope_theta: f64,
    pub(crate) activation: Activation,
    /// Whether the head uses the embedding's weights.
    pub(crate) tied: bool,
}

impl TextAnatomy {
    /// The heads of its attention.
    pub(crate) fn heads(&self) -> Heads {
        Heads { heads: self.heads, kv_heads: self.kv_heads, size: self.head_size }
    }

    /// Weights of the products of all layers.
    pub(crate) fn product_weights(&self) -> usize {
        let Self { hidden_size, intermediate_size, heads, kv_heads, head_size, .. } = self;
        let attention = 2 * hidden_size * (heads + kv_heads) * head_size;
        self.layers * (attention + 3 * hidden_size * intermediate_size)
    }

    /// Bytes of keys and values of one position in all layers, for numbers of `width` bytes.
    pub(crate) fn cache_bytes_per_position(&self, width: usize) -> usize {
        2 * self.layers * self.kv_heads * self.head_size * width
    }
}
